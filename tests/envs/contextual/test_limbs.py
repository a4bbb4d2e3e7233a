"""Robots with longer and shorter legs begin above the floor, healthy, and weigh what their shapes weigh."""

import math

import mujoco
import numpy as np
import pytest

from hyperrl_envs.contextual.verify import contextual_layer
from tests.envs.contextual.suite_cases import GYMNASIUM, make, shared

FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5)


def lowest(model):
    """Height of the robot's lowest point at the model's own start: only capsules and spheres are there."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    heights = []
    for geom in range(model.ngeom):
        radius, half = model.geom_size[geom, :2]
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            axis = data.geom_xmat[geom].reshape(3, 3)[2, 2]
            heights.append(data.geom_xpos[geom, 2] - abs(axis) * half - radius)
        elif model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_SPHERE:
            heights.append(data.geom_xpos[geom, 2] - radius)
    return min(heights)


def limbs(env_id, factor):
    env, _ = shared(env_id, "limb_length")
    env.reset(seed=0, options={"context": {"limb_length": factor}})
    return env


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("env_id", [env_id for env_id in GYMNASIUM if "Ant" not in env_id])
def test_the_feet_begin_as_high_as_the_published_ones(env_id, factor):
    expected = lowest(limbs(env_id, 1.0).unwrapped.model)
    assert math.isclose(lowest(limbs(env_id, factor).unwrapped.model), expected, abs_tol=1e-12)


@pytest.mark.parametrize("factor", FACTORS)
def test_the_ant_begins_where_its_bent_legs_reach_as_low(factor):
    model = limbs("hyperrl/ContextualAnt-v0", factor).unwrapped.model
    assert math.isclose(model.qpos0[2], 0.75 + (factor - 1) * 0.4 * math.sqrt(2) / 2, rel_tol=1e-12)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("env_id", GYMNASIUM)
def test_no_robot_is_unhealthy_at_its_start(env_id, factor):
    env = limbs(env_id, factor)
    for seed in range(20):
        env.reset(seed=seed, options={"context": {"limb_length": factor}})
        for _ in range(3):
            _, _, terminated, _, _ = env.step(np.zeros(env.action_space.shape, np.float32))
            assert not terminated


@pytest.mark.parametrize(("robot", "published"), [("Hopper", (0.7, math.inf)), ("Walker2d", (0.8, 2.0))])
def test_healthy_heights_of_walkers_are_multiples(robot, published):
    for factor in FACTORS:
        env = limbs(f"hyperrl/Contextual{robot}-v0", factor)
        ratio = (0.3 + 0.95 * factor) / 1.25
        assert np.allclose(env.unwrapped._healthy_z_range, np.multiply(published, ratio))
    env.reset(options={"context": {}})
    assert env.unwrapped._healthy_z_range == published


def test_healthy_heights_of_the_ant_move_with_its_start():
    for factor in FACTORS:
        low, high = limbs("hyperrl/ContextualAnt-v0", factor).unwrapped._healthy_z_range
        assert low == 0.2
        assert math.isclose(high, 1.0 + (factor - 1) * 0.4 * math.sqrt(2) / 2)


def test_settings_of_the_task_are_what_is_scaled():
    env = make("hyperrl/ContextualHopper-v0", "limb_length", healthy_z_range=(0.5, 3.0))
    env.reset(options={"context": {"limb_length": 1.5}})
    assert np.allclose(env.unwrapped._healthy_z_range, np.multiply((0.5, 3.0), 1.725 / 1.25))


@pytest.mark.parametrize("factor", FACTORS)
def test_a_shorter_cheetah_weighs_less_and_not_fourteen_kilograms(factor):
    """The file's total of 14 kg would give what the legs lose to the torso."""
    published = limbs("hyperrl/ContextualHalfCheetah-v0", 1.0).unwrapped.model.body_mass.copy()
    model = limbs("hyperrl/ContextualHalfCheetah-v0", factor).unwrapped.model
    radius = 0.046
    lengths = {"bthigh": 0.29, "bshin": 0.3, "fthigh": 0.266, "fshin": 0.212}
    for name, length in lengths.items():
        volume = [math.pi * radius**2 * (length * by + 4 / 3 * radius) for by in (factor, 1.0)]
        ratio = model.body(name).mass[0] / published[model.body(name).id]
        assert math.isclose(ratio, volume[0] / volume[1], rel_tol=1e-9)
    for name in ("torso", "bfoot", "ffoot"):
        assert math.isclose(model.body(name).mass[0], published[model.body(name).id], rel_tol=1e-9)


def test_density_and_mass_mean_the_same():
    for env_id in GYMNASIUM:
        dense, heavy = (shared(env_id, name)[0] for name in ("density", "mass"))
        param = contextual_layer(dense).context_space["density"]
        dense.reset(options={"context": {"density": 1.4 * param.default}})
        heavy.reset(options={"context": {"mass": 1.4}})
        for name in ("body_mass", "body_inertia", "dof_M0", "dof_invweight0"):
            found, expected = (getattr(env.unwrapped.model, name) for env in (dense, heavy))
            assert np.allclose(found, expected, rtol=1e-9), (env_id, name)


def test_pictures_follow_a_model_that_is_compiled_anew():
    """The model is the same object, so a renderer that was made before shows the robot of now."""
    env = make("hyperrl/ContextualHopper-v0", "limb_length")
    model, data = env.unwrapped.model, env.unwrapped.data
    view = model.geom_size
    env.reset(options={"context": {"limb_length": 1.5}})
    assert env.unwrapped.model is model
    assert env.unwrapped.data is data
    assert math.isclose(view[model.geom("leg_geom").id, 1], 0.375)
