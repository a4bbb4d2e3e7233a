"""Bodies that differ part by part: factors of what was published, whatever came before."""

from __future__ import annotations

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from hyperrl.environments import make_env
from hyperrl.testing import check_context_env
from hyperrl_envs.contextual import suite_of
from tests.envs.contextual.native.pairs import assert_same, assert_same_steps, both, random_actions

WALKER, HOPPER = "hyperrl/Walker2dRandParams-v0", "hyperrl/HopperRandParams-v0"


@pytest.mark.parametrize("env_id", [HOPPER, pytest.param(WALKER, marks=pytest.mark.slow)])
def test_all_promises_of_contexts_are_kept(env_id):
    check_context_env(gym.make(env_id), reference=suite_of(env_id).make_base())


@pytest.mark.parametrize(("env_id", "size"), [(WALKER, 21), (HOPPER, 12)])
def test_factors_are_of_the_published_values_and_never_of_factors(env_id, size):
    env = make_env(env_id)
    model, published = env.unwrapped.model, mujoco.MjModel.from_xml_path(env.unwrapped.fullpath)
    space = env.get_wrapper_attr("context_space")
    assert len(space) == size
    for seed in range(12):
        _, info = env.reset(seed=seed)
    factors = space.as_dict(info["context"])
    for body in range(1, model.nbody):
        name = model.body(body).name
        mass, inertia = published.body_mass[body], published.body_inertia[body]
        assert model.body_mass[body] == pytest.approx(mass * factors[f"mass_{name}"], rel=1e-12)
        assert model.body_inertia[body] == pytest.approx(inertia * factors[f"inertia_{name}"], rel=1e-12)
    for joint in range(3, model.njnt):
        dof = model.jnt_dofadr[joint]
        factor = factors[f"damping_{model.joint(joint).name.removesuffix('_joint')}"]
        assert model.dof_damping[dof] == pytest.approx(published.dof_damping[dof] * factor, rel=1e-12)
    friction = published.geom_friction * factors["friction"]
    assert model.geom_friction == pytest.approx(friction, rel=1e-12)


def test_factors_are_drawn_evenly_in_their_logarithms():
    rows = suite_of(WALKER).plan(n_train=1000, n_test=1).splits.contexts("train")
    names = suite_of(WALKER).params.names
    for name, column in zip(names, rows.T, strict=True):
        exponents = np.log(column) / np.log(1.3 if name.startswith("damping") else 1.5)
        assert np.quantile(exponents, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
            [-3, -1.5, 0, 1.5, 3], abs=0.02
        )


def test_rewards_are_those_of_the_formula():
    env = make_env(WALKER, {"mode": "hidden"})
    env.reset(seed=0)
    generator = np.random.default_rng(0)
    for _ in range(15):
        before = env.unwrapped.data.qpos[0]
        action = generator.uniform(-1, 1, 6).astype(np.float32)
        _, reward, terminated, *_ = env.step(action)
        velocity = (env.unwrapped.data.qpos[0] - before) / 0.008
        if not terminated:
            assert reward == pytest.approx(velocity + 1 - 1e-3 * np.square(action).sum(), abs=1e-6)


@pytest.mark.parametrize("env_id", [WALKER, HOPPER])
def test_together_they_are_what_they_are_one_by_one(env_id):
    dummy, native = both(env_id, 3, n_train=40, n_test=10, max_episode_steps=15)
    assert_same(native.reset(), dummy.reset())
    ends, contexts = assert_same_steps(dummy, native, random_actions(dummy, 40))
    assert ends >= 6
    assert len(contexts) >= 4
