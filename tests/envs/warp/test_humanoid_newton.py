"""Humanoid with the Newton solver is an ordinary Gymnasium environment."""

from __future__ import annotations

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from hyperrl.environments import check_env_id, make_env
from hyperrl_envs.warp import HUMANOID_NEWTON


def test_it_is_humanoid_but_for_the_solver():
    own, other = make_env(HUMANOID_NEWTON), make_env("Humanoid-v5")
    check_env_id(HUMANOID_NEWTON)
    assert own.spec.max_episode_steps == other.spec.max_episode_steps == 1000
    assert (own.observation_space, own.action_space) == (other.observation_space, other.action_space)
    models = [env.unwrapped.model for env in (own, other)]
    solvers = mujoco.mjtSolver.mjSOL_NEWTON, mujoco.mjtSolver.mjSOL_PGS
    assert tuple(model.opt.solver for model in models) == solvers
    for model in models:
        model.opt.solver = solvers[0]
    first = own.reset(seed=3)[0]
    assert np.array_equal(first, other.reset(seed=3)[0])
    action = np.full(17, 0.2, np.float32)
    for _ in range(10):
        for one, another in zip(own.step(action)[:4], other.step(action)[:4], strict=True):
            assert np.array_equal(one, another)


def test_its_numbers_are_not_those_of_pgs():
    own, other = make_env(HUMANOID_NEWTON), make_env("Humanoid-v5")
    own.reset(seed=3), other.reset(seed=3)
    action = np.full(17, 0.2, np.float32)
    steps = [(own.step(action)[0], other.step(action)[0]) for _ in range(15)]
    assert any(np.abs(one - another).max() > 1e-3 for one, another in steps)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasium_finds_nothing_wrong_with_it():
    check_env(gym.make(HUMANOID_NEWTON).unwrapped, skip_render_check=True)
    assert gym.make(f"hyperrl_envs.warp:{HUMANOID_NEWTON}").unwrapped.model.nu == 17
