"""Files that would run code, write elsewhere or fill the memory (group H of the fault list)."""

import io
import json
import os
import pickle
import shutil
import zipfile

import pytest
import torch
from stable_baselines3 import TD3

from hyperrl.cli import main
from hyperrl.run import RunFolder

ENV = ["--env", "Pendulum-v1"]


class Trap:
    """Unpickled, it leaves a file that says so."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (os.mkdir, (self.marker,))


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run that may be damaged."""
    path = tmp_path / "run"
    shutil.copytree(finished_run.folder.path, path)
    return RunFolder(path)


def test_the_trap_works(marker):
    pickle.loads(pickle.dumps(Trap(marker)))
    assert marker.exists()


def refused(capsys, argv, status=2):
    assert main([str(word) for word in argv]) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


MEMBERS = ["policy.safetensors", "state.safetensors", "state.json", "checkpoint.json", "manifest.json"]


@pytest.mark.parametrize("payload", [0, 2, 5])
@pytest.mark.parametrize("member", MEMBERS)
def test_a_pickle_in_a_checkpoint_is_never_run(capsys, run, marker, member, payload):
    for checkpoint in run.checkpoints.glob("step-*"):
        (checkpoint / member).write_bytes(pickle.dumps(Trap(marker), protocol=payload))
    for verb in ("evaluate", "resume"):
        refused(capsys, [verb, run.path])
    refused(capsys, ["doctor", run.path], status=1)
    assert not marker.exists()


@pytest.mark.parametrize("pointer", ["latest.json", "best.json"])
def test_a_pickle_in_a_pointer_is_never_run(capsys, run, marker, pointer):
    (run.checkpoints / pointer).write_bytes(pickle.dumps(Trap(marker)))
    assert (
        main(["evaluate", str(run.path), "--episodes", "1", "--checkpoint", pointer.partition(".")[0]]) == 0
    )
    assert "warning" in capsys.readouterr().err
    assert not marker.exists()


def test_a_pickle_in_the_replay_buffer_is_never_run(capsys, run, marker):
    for segment in (run.checkpoints / "replay").iterdir():
        segment.write_bytes(pickle.dumps(Trap(marker)))
    # The checkpoint before the first step has no replay buffer, and stands in for the others.
    assert main(["resume", str(run.path), "--steps", "301"]) == 0
    assert "the checkpoint step-000000000000 is used instead" in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize("name", ["run.toml", "manifest.json", "status.json"])
def test_a_pickle_in_the_run_folder_is_never_run(capsys, run, marker, name):
    (run.path / name).write_bytes(pickle.dumps(Trap(marker)))
    for verb in ("evaluate", "resume"):
        main([verb, str(run.path), *(["--steps", "301"] if verb == "resume" else ["--episodes", "1"])])
        assert "Traceback" not in capsys.readouterr().err
    assert not marker.exists()


def test_a_checkpoint_that_points_out_of_its_folder_is_refused(capsys, run, tmp_path):
    outside = tmp_path / "outside.safetensors"
    for checkpoint in run.checkpoints.glob("step-*"):
        weights = checkpoint / "policy.safetensors"
        shutil.copy(weights, outside)
        weights.unlink()
        weights.symlink_to(outside)
    assert "policy.safetensors" in refused(capsys, ["evaluate", run.path])


def test_a_pointer_out_of_the_folder_is_not_followed(capsys, run, tmp_path):
    shutil.copytree(run.checkpoint().path, tmp_path / "evil")
    pointer = json.loads((run.checkpoints / "latest.json").read_text())
    for key, value in pointer.items():
        if isinstance(value, str) and value.startswith("step-"):
            pointer[key] = "../../evil"
    (run.checkpoints / "latest.json").write_text(json.dumps(pointer))
    assert main(["evaluate", str(run.path), "--episodes", "1"]) == 0
    assert "warning" in capsys.readouterr().err


CODE = [
    "__import__('os').mkdir('executed')",
    "!!python/object/apply:os.mkdir ['executed']",
    "${mkdir executed}",
]


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize(
    "field", ["gamma", "policy_kwargs.activation_fn", "agent", "env", "action_noise.kind"]
)
def test_code_in_a_setting_is_a_word_and_nothing_more(capsys, tmp_path, monkeypatch, code, field):
    monkeypatch.chdir(tmp_path)
    agent = code if field == "agent" else "td3"
    env = ["--env", code] if field == "env" else ENV
    settings = [] if field in ("agent", "env") else ["--set", f"{field}={code}"]
    refused(capsys, ["train", agent, *env, *settings, "--out", "run"])
    quoted = [] if field in ("agent", "env") else ["--set", f"{field}={json.dumps(code)}"]
    refused(capsys, ["train", agent, *env, *quoted, "--out", "run"])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def model(tmp_path):
    """A model that Stable-Baselines3 saved."""
    model = TD3(
        "MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16, 16]}, buffer_size=10, device="cpu"
    )
    model.save(tmp_path / "model.zip")
    return model, tmp_path / "model.zip"


def import_command(path, out, *more):
    shape = ["--set", "policy_kwargs.net_arch=[16,16]", "buffer_size=100"]
    return ["import", path, "--agent", "td3", *ENV, "--out", out, *shape, *more]


def replaced(path, **members):
    """Change members of a zip file."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name.replace("__", "."): data for name, data in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_a_zip_file_is_not_opened_unless_it_is_trusted(capsys, model, tmp_path):
    err = refused(capsys, import_command(model[1], tmp_path / "run"))
    assert "can run code when they are loaded: add --trust-pickle" in err
    assert not (tmp_path / "run").exists()


def test_a_trusted_file_becomes_a_run_that_evaluates_and_continues(capsys, model, tmp_path):
    agent, path = model
    out = tmp_path / "run"
    assert main([str(word) for word in import_command(path, out, "--trust-pickle")]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    weights = RunFolder.open(out).checkpoint().weights()
    assert all(torch.equal(weights[name], tensor) for name, tensor in agent.policy.state_dict().items())
    assert main(["evaluate", str(out), "--episodes", "2"]) == 0
    assert main(["resume", str(out), "--steps", "200"]) == 2
    assert "learning_starts" in capsys.readouterr().err


def test_pickled_settings_of_a_trusted_file_are_still_not_run(capsys, model, tmp_path, marker):
    data = {
        "num_timesteps": 7,
        "policy_class": {":type:": "x", ":serialized:": pickle.dumps(Trap(marker)).hex()},
    }
    replaced(model[1], data=json.dumps(data))
    assert main([str(word) for word in import_command(model[1], tmp_path / "run", "--trust-pickle")]) == 0
    assert not marker.exists()
    assert RunFolder.open(tmp_path / "run").checkpoint().steps == 7


def test_pickled_weights_of_a_trusted_file_are_still_not_run(capsys, model, tmp_path, marker):
    buffer = io.BytesIO()
    torch.save({"actor": Trap(marker)}, buffer)
    replaced(model[1], policy__pth=buffer.getvalue())
    err = refused(capsys, import_command(model[1], tmp_path / "run", "--trust-pickle"))
    assert "cannot be read as a model of Stable-Baselines3" in err
    assert not marker.exists()
    assert not (tmp_path / "run").exists()


def test_a_name_in_a_zip_file_writes_nothing_elsewhere(capsys, model, tmp_path):
    replaced(model[1], **{"../../escaped": b"x"})
    main([str(word) for word in import_command(model[1], tmp_path / "inner" / "run", "--trust-pickle")])
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.parent.rglob("escaped"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(capsys, model, tmp_path):
    replaced(model[1], data=b" " * (300 * 2**20))
    err = refused(capsys, import_command(model[1], tmp_path / "run", "--trust-pickle"))
    assert "it would unpack to" in err


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "other networks", "missing"])
def test_a_file_that_is_no_such_model_is_refused(capsys, model, tmp_path, damage):
    path = model[1]
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage != "other networks":
        path.write_bytes({"truncated": data[: len(data) // 2], "text": b"hello", "empty": b""}[damage])
    more = ["--set", "policy_kwargs.net_arch=[4]"] if damage == "other networks" else []
    refused(capsys, import_command(path, tmp_path / "run", "--trust-pickle", *more))
    assert not (tmp_path / "run").exists()
