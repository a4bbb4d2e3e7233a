"""Episodes in a context go on from a saved state bit for bit, and so does what comes after them."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from hyperrl.config import RunConfig
from hyperrl.errors import UnsupportedEnvError
from hyperrl.run.env_state import capture, restore
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import restore_agent, resume, train
from hyperrl_envs.contextual.ids import SUITES
from hyperrl_envs.saved_state import capture_plain, restore_plain
from tests.run.doubles import through_a_file

SETTINGS = {
    "hyperrl/ContextualHopper-v0": {"context": ["mass", "gravity", "limb_length", "control_cost"]},
    "hyperrl/ContextualHalfCheetah-v0": {"context": ["friction", "motor_strength"], "sampler": "round_robin"},
    "hyperrl/ContextualAnt-v0": {"context": ["density", "damping"], "append": "flat"},
}


def shown(observation):
    parts = observation.values() if isinstance(observation, dict) else [observation]
    return np.concatenate([np.ravel(part) for part in parts]).tobytes()


def goes_on(env, steps, seed):
    generator, found = np.random.default_rng(seed), []
    for _ in range(steps):
        action = generator.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        found.append((shown(observation), float(reward), terminated, info["context"].tobytes()))
        if terminated or truncated:
            observation, info = env.reset()
            found.append((shown(observation), info["context_id"]))
    return found


@pytest.mark.parametrize("env_id", SUITES)
def test_another_environment_goes_on_from_a_state_within_an_episode(env_id):
    settings = {**SETTINGS.get(env_id, {}), "max_episode_steps": 7}
    first, other = (gym.make(env_id, **settings) for _ in range(2))
    first.reset(seed=3)
    goes_on(first, 17, 0)
    space = first.get_wrapper_attr("context_space")
    first.get_wrapper_attr("set_next_context")(space.default)
    state = through_a_file(capture_plain(first))
    expected = goes_on(first, 20, 1)
    restore_plain(other, state)
    assert goes_on(other, 20, 1) == expected
    # And once more in the environment that has gone on itself.
    restore_plain(first, state)
    assert goes_on(first, 20, 1) == expected


def test_a_vectorised_environment_goes_on_from_a_state():
    def build():
        settings = {"context": ["mass", "gravity", "limb_length"], "max_episode_steps": 6}
        return make_vec_env(lambda: gym.make("hyperrl/ContextualHopper-v0", **settings), n_envs=3, seed=5)

    first, other = build(), build()
    actions = np.random.default_rng(0).uniform(-1, 1, (25, 3, 3)).astype(np.float32)
    first.reset()
    for batch in actions[:9]:
        first.step(batch)
    state = through_a_file(capture(first))
    assert state["reason"] is None
    other.reset()
    assert restore(other, state, 0) == ([], None)
    for batch in actions[9:]:
        found, expected = other.step(batch), first.step(batch)
        for one, another in zip(found[:3], expected[:3], strict=True):
            parts = one.items() if isinstance(one, dict) else [(None, one)]
            for name, values in parts:
                assert np.array_equal(values, another if name is None else another[name])
        assert [info["context_id"] for info in found[3]] == [info["context_id"] for info in expected[3]]


def test_a_state_is_not_restored_to_another_body():
    first = gym.make("hyperrl/ContextualHopper-v0", context=["mass"])
    first.reset(seed=0)
    other = gym.make("hyperrl/ContextualHopper-v0", context=["gravity"])
    with pytest.raises(UnsupportedEnvError, match="another"):
        restore_plain(other, capture_plain(first))


def test_a_run_that_is_resumed_within_an_episode_ends_as_if_it_had_not_stopped(tmp_path):
    settings = {"learning_starts": 10, "buffer_size": 100, "batch_size": 8}
    config = RunConfig(
        "sac",
        "hyperrl/ContextualHopper-v0",
        steps=60,
        n_envs=2,
        eval_every=0,
        eval_episodes=1,
        env_kwargs={"context": ["mass", "limb_length"], "append": "flat", "max_episode_steps": 13},
        agent_kwargs={**settings, "policy_kwargs": {"net_arch": [8]}},
        native=False,
        out=str(tmp_path / "straight"),
    )
    train(config)
    stopped = dataclasses.replace(config, steps=30, out=str(tmp_path / "resumed"))
    train(stopped)
    resume(stopped.out, steps=60)
    assert first_difference(digests(stopped.out), digests(config.out)) is None


def digests(path):
    agent = restore_agent(path)
    try:
        assert agent.num_timesteps == 60
        return state_digests(agent)
    finally:
        agent.env.close()
