"""Nothing is lost on the way to a file and back."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import HyperSAC, HyperTD3
from hyperrl.sb3 import HyperCriticConfig
from tests.sb3.toys import SMALL, TINY, TINY_PAPER, DictEnv, PointEnv, same_parameters

agents = pytest.mark.parametrize("cls", [HyperTD3, HyperSAC])
OBSERVATIONS = np.random.default_rng(0).uniform(-1, 1, (9, 3)).astype(np.float32)


def trained(cls, critic=TINY, env=None, **kwargs):
    policy_kwargs = {"critic": critic, "net_arch": [16]}
    model = cls("MlpPolicy", env or PointEnv(), policy_kwargs=policy_kwargs, seed=0, **{**SMALL, **kwargs})
    return model.learn(45)


@agents
@pytest.mark.parametrize(
    "critic", [TINY, TINY_PAPER, "compact", HyperCriticConfig(hidden=(4,), encoder=("rms", "running_norm"))]
)
def test_a_loaded_agent_is_the_saved_one_bit_by_bit(cls, critic, tmp_path):
    model = trained(cls, critic)
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model")
    assert same_parameters(model, loaded)
    for deterministic in (True, False):
        th.manual_seed(0)
        expected, _ = model.predict(OBSERVATIONS, deterministic=deterministic)
        th.manual_seed(0)
        assert np.array_equal(loaded.predict(OBSERVATIONS, deterministic=deterministic)[0], expected)
    states, actions = th.as_tensor(OBSERVATIONS), th.rand(9, 2)
    for one, other in zip(loaded.critic(states, actions), model.critic(states, actions), strict=True):
        assert th.equal(one, other)
    assert loaded.policy.critic_config == model.policy.critic_config
    assert loaded.critic_target.q_networks[0].target.spec == model.critic.q_networks[0].target.spec


@agents
def test_a_loaded_agent_goes_on_as_the_saved_one_would(cls, tmp_path):
    model = trained(cls)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = cls.load(tmp_path / "model", env=PointEnv())
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.size() == model.replay_buffer.size() == 45
    loaded.set_logger(model.logger)
    for each in (model, loaded):
        np.random.seed(1)
        th.manual_seed(1)
        each.train(5, 16)
    assert same_parameters(model, loaded)
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.num_timesteps == 65


@agents
def test_another_environment_can_take_over(cls):
    model = trained(cls)
    model.set_env(make_vec_env(PointEnv, n_envs=1, seed=1))
    model.learn(20, reset_num_timesteps=False)
    assert model.num_timesteps == 65
    with pytest.raises(ValueError, match="spaces do not match"):
        model.set_env(DictEnv())


@agents
def test_a_file_object_and_custom_objects(cls):
    file = io.BytesIO()
    trained(cls).save(file)
    file.seek(0)
    loaded = cls.load(file, custom_objects={"gamma": 0.5, "learning_rate": 1e-5})
    assert loaded.gamma == 0.5
    assert loaded.learning_rate == 1e-5


@agents
def test_parameters_can_be_taken_from_another_agent(cls):
    model, other = trained(cls), trained(cls, learning_starts=30)
    assert not same_parameters(model, other)
    other.set_parameters(model.get_parameters())
    assert same_parameters(model, other)
    with pytest.raises(ValueError, match="Names of parameters do not match"):
        other.set_parameters({"policy": model.policy.state_dict()})


@agents
def test_a_critic_of_another_shape_is_refused(cls):
    with pytest.raises(RuntimeError, match=r"Missing key|size mismatch"):
        trained(cls).set_parameters(trained(cls, TINY_PAPER).get_parameters())


@agents
def test_what_is_only_of_the_session_stays_out_of_the_file(cls, tmp_path):
    model = trained(cls)
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model")
    # Diagnostics hold on to the critic: a saved one would measure a copy.
    assert loaded._diagnostics.critic is loaded.critic
    assert "_diagnostics" in model._excluded_save_params()
