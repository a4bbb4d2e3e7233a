"""What a user of Stable-Baselines3 expects of a vectorised environment on a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import CompiledPPO
from hyperrl.environments import make_vec_env
from hyperrl.errors import HyperRLError, ShapeError, UnsupportedEnvError
from hyperrl_envs.warp import make_warp
from tests.envs.warp.cases import NEEDS_WARP

pytest.importorskip("mujoco_warp", reason=NEEDS_WARP)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Kernels are compiled when first needed.


def build(env_id, count, seed=0, **arguments):
    return make_warp(env_id, count, seed, device="cpu", **arguments)


def random_actions(venv, steps, seed=1):
    space = venv.action_space
    size = (steps, venv.num_envs, *space.shape)
    return np.random.default_rng(seed).uniform(space.low, space.high, size).astype(np.float32)


def test_spaces_and_starts_are_those_of_the_other_environments():
    venv, native = build("Hopper-v5", 3, 5), make_vec_env("Hopper-v5", {}, 3, 5, native=True)
    assert (venv.observation_space, venv.action_space) == (native.observation_space, native.action_space)
    assert np.array_equal(venv.action_space.sample(), native.action_space.sample())
    observations = venv.reset()
    assert (observations.dtype, observations.shape) == (np.float64, (3, 11))


@pytest.mark.parametrize(("env_id", "limit"), [("InvertedPendulum-v5", 9), ("HalfCheetah-v5", 6)])
def test_steps_infos_and_episodes(env_id, limit):
    venv, twin = (build(env_id, 4, 3, max_episode_steps=limit) for _ in range(2))
    assert np.array_equal(venv.reset(), twin.reset_tensors().double().numpy())
    returns, lengths, ends = np.zeros(4), np.zeros(4, int), {True: 0, False: 0}
    for batch in random_actions(venv, 40):
        observations, rewards, done, infos = venv.step(batch)
        step = twin.step_tensors(torch.from_numpy(batch))
        assert np.array_equal(observations, step.observations.double().numpy())
        assert (rewards.dtype, done.dtype) == (np.float32, bool)
        assert np.array_equal(rewards, step.rewards.numpy())
        assert np.array_equal(done, (step.terminated | step.truncated).numpy())
        returns += rewards
        lengths += 1
        for index, info in enumerate(infos):
            late = bool(step.truncated[index] & ~step.terminated[index])
            assert info["TimeLimit.truncated"] is late
            if not done[index]:
                assert set(info) == {"TimeLimit.truncated"}
                continue
            ends[late] += 1
            last = step.final_observations[index].double().numpy()
            assert np.array_equal(info["terminal_observation"], last)
            assert info["episode"]["r"] == pytest.approx(returns[index], abs=1e-5)
            assert info["episode"]["l"] == lengths[index] <= limit
            assert info["episode"]["t"] > 0
            returns[index], lengths[index] = 0, 0
    assert ends[True]
    assert bool(ends[False]) == (env_id == "InvertedPendulum-v5")


def test_seeding_is_that_of_stable_baselines():
    one, other = build("Reacher-v5", 3, 7), build("Reacher-v5", 3, None)
    first = one.reset()
    assert not np.array_equal(first, other.reset())
    assert not np.array_equal(first, one.reset())
    assert other.seed(7) == [7, 8, 9]
    other.set_options({"anything": 1})
    assert np.array_equal(first, other.reset())
    assert (other._seeds, other._options) == ([None] * 3, [{}] * 3)


def test_attributes_and_methods():
    venv = build("Swimmer-v5", 3, max_episode_steps=12)
    assert [spec.id for spec in venv.get_attr("spec")] == ["Swimmer-v5"] * 3
    assert venv.get_attr("spec", 0)[0].max_episode_steps == 12
    assert venv.get_attr("render_mode", [0, 2]) == [None, None]
    assert venv.get_attr("model", 1) == [venv.simulation.model]
    assert venv.get_attr("action_space", 1) == [venv.action_space]
    assert venv.env_is_wrapped(Monitor) == [False] * 3
    assert venv.get_images() == [None] * 3
    assert not venv.has_attr("np_random")
    for call in (
        lambda: venv.get_attr("nothing"),
        lambda: venv.set_attr("note", 1),
        lambda: venv.env_method("render"),
    ):
        with pytest.raises(AttributeError, match="simulated with MuJoCo Warp have no"):
            call()
    venv.close()


def test_calls_in_the_wrong_order_and_shape_are_refused():
    venv = build("Reacher-v5", 2)
    with pytest.raises(HyperRLError, match="step was called before reset"):
        venv.step(np.zeros((2, 2)))
    venv.reset()
    with pytest.raises(HyperRLError, match="step_wait was called without"):
        venv.step_wait()
    for wrong in (np.zeros((3, 2)), np.zeros((2, 3)), np.zeros(2), 0.0):
        with pytest.raises(ShapeError, match=r"step needs actions of shape \(2, 2\)"):
            venv.step(wrong)


def test_states_go_on_with_returns_and_lengths():
    venv = build("Reacher-v5", 2, max_episode_steps=8)
    venv.reset()
    actions = random_actions(venv, 12)
    for batch in actions[:5]:
        venv.step(batch)
    states = venv.capture_env_states()
    expected = [venv.step(batch) for batch in actions[5:]]
    other = build("Reacher-v5", 2, 50, max_episode_steps=8)
    other.restore_env_states(states)
    for batch, (observations, rewards, done, infos) in zip(actions[5:], expected, strict=True):
        found = other.step(batch)
        assert all(map(np.array_equal, found[:3], (observations, rewards, done)))
        for info, another in zip(infos, found[3], strict=True):
            assert info.get("episode", {}).get("r") == another.get("episode", {}).get("r")
            assert info.get("episode", {}).get("l") == another.get("episode", {}).get("l")
    for wrong in ([], [{}], [*states, *states]):
        with pytest.raises(UnsupportedEnvError, match="not of environments simulated with MuJoCo Warp"):
            other.restore_env_states(wrong)


@pytest.mark.parametrize("algorithm", [PPO, CompiledPPO])
def test_ppo_learns_to_balance_and_does_so_in_gymnasium(algorithm):
    torch.manual_seed(0)
    settings = {"n_steps": 64, "batch_size": 256, "n_epochs": 8, "learning_rate": 1e-3, "gamma": 0.98}
    model = algorithm("MlpPolicy", build("InvertedPendulum-v5", 32), seed=0, device="cpu", **settings)
    native = make_vec_env("InvertedPendulum-v5", {"max_episode_steps": 300}, 1, 0, native=True)
    before, _ = evaluate_policy(model, native, 5, warn=False)
    model.learn(32 * 64 * 15)
    assert len(model.ep_info_buffer) == 100
    after, _ = evaluate_policy(model, native, 5, warn=False)
    assert after > max(100, 3 * before)
    # The spaces are the same ones.
    model.set_env(make_vec_env("InvertedPendulum-v5", {}, 32, 0, native=True))


def test_ppo_trains_on_a_runner_with_normalised_observations():
    venv = VecNormalize(build("HalfCheetah-v5", 8, max_episode_steps=40))
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=64, n_epochs=2, device="cpu", seed=1)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(3 * 8 * 32)
    after = model.policy.state_dict()
    assert all(bool(value.isfinite().all()) for value in after.values())
    assert not all(torch.equal(value, after[name]) for name, value in before.items())
    assert {episode["l"] for episode in model.ep_info_buffer} == {40}
