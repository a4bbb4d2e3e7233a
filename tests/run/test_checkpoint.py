import json
import pickle
import zipfile

import pytest
import torch
from stable_baselines3 import SAC, TD3

from hyperrl.errors import NonFiniteError, RunFolderError
from hyperrl.run.checkpoint import load_policy, save_checkpoint


def make(cls=TD3, seed=0, width=8):
    return cls(
        "MlpPolicy",
        "Pendulum-v1",
        buffer_size=10,
        seed=seed,
        policy_kwargs={"net_arch": [width]},
        device="cpu",
    )


@pytest.mark.parametrize("cls", [TD3, SAC])
def test_a_policy_survives_bit_by_bit(tmp_path, cls):
    agent, other = make(cls, 0), make(cls, 1)
    agent.num_timesteps = 70
    save_checkpoint(agent, tmp_path / "final")
    assert load_policy(other.policy, tmp_path / "final") == 70
    for name, tensor in agent.policy.state_dict().items():
        assert torch.equal(other.policy.state_dict()[name], tensor)


def test_stable_baselines3_loads_its_own_file(tmp_path):
    agent = make()
    save_checkpoint(agent, tmp_path / "final")
    loaded = TD3.load(tmp_path / "final" / "model.zip", device="cpu")
    for name, tensor in agent.policy.state_dict().items():
        assert torch.equal(loaded.policy.state_dict()[name], tensor)


def test_weights_that_are_not_finite_are_named_and_the_older_checkpoint_stays(tmp_path):
    agent = make()
    save_checkpoint(agent, tmp_path / "final")
    before = (tmp_path / "final" / "policy.safetensors").read_bytes()
    with torch.no_grad():
        agent.critic.qf0[0].weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"critic\.qf0\.0\.weight"):
        save_checkpoint(agent, tmp_path / "final")
    assert (tmp_path / "final" / "policy.safetensors").read_bytes() == before


def test_loading_never_unpickles(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    save_checkpoint(make(), tmp_path / "final")
    with zipfile.ZipFile(tmp_path / "final" / "model.zip", "w") as file:
        file.writestr("data", pickle.dumps(Trap()))
    load_policy(make().policy, tmp_path / "final")
    (tmp_path / "final" / "policy.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(RunFolderError, match="cannot be read"):
        load_policy(make().policy, tmp_path / "final")
    assert not (tmp_path / "executed").exists()


def test_damaged_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "final"
    save_checkpoint(make(), path)
    whole = (path / "policy.safetensors").read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        (path / "policy.safetensors").write_bytes(whole[:size])
        with pytest.raises(RunFolderError, match="cannot be read"):
            load_policy(make().policy, path)
    (path / "policy.safetensors").write_bytes(whole)
    for text in ("", "[]", "{}", json.dumps({"steps": None}), '{"steps": Infinity}'):
        (path / "checkpoint.json").write_text(text)
        with pytest.raises(RunFolderError, match="cannot be read"):
            load_policy(make().policy, path)
    (path / "policy.safetensors").unlink()
    with pytest.raises(RunFolderError, match="cannot be read"):
        load_policy(make().policy, path)


def test_weights_of_another_policy_are_refused(tmp_path):
    save_checkpoint(make(), tmp_path / "final")
    with pytest.raises(RunFolderError, match="does not fit") as caught:
        load_policy(make(width=9).policy, tmp_path / "final")
    assert "in the file and" in str(caught.value)
    assert str(caught.value).count("actor") == 1
    with pytest.raises(RunFolderError, match="does not fit"):
        load_policy(make(SAC).policy, tmp_path / "final")
