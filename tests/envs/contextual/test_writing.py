"""Writing contexts into models: operations, parts, numbers, and rewards in closed form."""

import gymnasium as gym
import numpy as np
import pytest

from hyperrl.context import ContextParam, ContextSpace
from hyperrl.errors import ContextError
from hyperrl_envs.contextual import ContextReward, ContextualMujoco, ModelWriter
from hyperrl_envs.contextual.arrays import differing, read_arrays
from hyperrl_envs.contextual.healthy import HealthyHeight
from hyperrl_envs.contextual.rewards import REWARDS, locomotion
from tests.envs.contextual.suite_cases import make


def written(params, values, env_id="Walker2d-v5"):
    model = gym.make(env_id).unwrapped.model
    before = read_arrays(model)
    writer = ModelWriter(model, ContextSpace(params))
    assert not differing(before, read_arrays(model))
    writer.write(np.array(values))
    return before, model


def test_scaling_setting_and_adding_do_not_depend_on_their_order():
    scale = ContextParam("factor", 0.5, 2.0, fields=("geom_friction[0]",), select=("floor",))
    set_to = ContextParam("value", 0.1, 2.0, 0.7, op="set", fields=("geom_friction[0]",), select=("floor",))
    add = ContextParam("more", 0.0, 1.0, 0.0, op="add", fields=("geom_friction[0]",), select=("floor",))
    for params, values in (
        ((scale, set_to, add), (2.0, 1.5, 0.25)),
        ((add, scale, set_to), (0.25, 2.0, 1.5)),
    ):
        before, model = written(params, values)
        assert model.geom("floor").friction[0] == 1.5 * 2.0 + 0.25
        others = [index for index in range(model.ngeom) if index != model.geom("floor").id]
        assert np.array_equal(model.geom_friction[others], before["geom_friction"][others])
        assert np.array_equal(model.geom_friction[:, 1:], before["geom_friction"][:, 1:])


def test_parts_are_selected_by_name_and_motors_by_that_of_their_joint():
    thigh = ContextParam("thigh", -1, 1, fields=("actuator_gear",), select=("thigh_joint",), level="setconst")
    before, model = written((thigh,), (-0.5,))
    gears = before["actuator_gear"][:, 0].copy()
    gears[0] *= -0.5
    assert np.array_equal(model.actuator_gear[:, 0], gears)
    damping = ContextParam(
        "damping", 0.5, 2, fields=("dof_damping",), select=("leg_joint", "foot_left_joint")
    )
    before, model = written((damping,), (2.0,))
    factors = np.ones(model.nv)
    factors[[model.joint("leg_joint").dofadr[0], model.joint("foot_left_joint").dofadr[0]]] = 2.0
    assert np.array_equal(model.dof_damping, before["dof_damping"] * factors)


def test_factors_of_one_array_multiply():
    strength = ContextParam("strength", 0.5, 2, fields=("actuator_gear",), level="setconst")
    sign = ContextParam(
        "sign", -1, 1, fields=("actuator_gear",), level="setconst", choices=(-1.0, 1.0), select=("leg_joint",)
    )
    before, model = written((strength, sign), (1.5, -1.0))
    expected = 1.5 * before["actuator_gear"][:, 0]
    expected[1] *= -1
    assert np.array_equal(model.actuator_gear[:, 0], expected)


def test_numbers_among_the_options_can_be_changed():
    step = ContextParam("step", 0.5, 2.0, fields=("opt.timestep",))
    env = ContextualMujoco(gym.make("Hopper-v5"), [step])
    published = env.unwrapped.dt
    env.reset(options={"context": {"step": 2.0}})
    assert env.unwrapped.dt == 2 * published
    env.reset(options={"context": {}})
    assert env.unwrapped.dt == published


def test_wind_that_blows_along_one_axis():
    wind = ContextParam("wind", -5.0, 5.0, 0.0, op="add", fields=("opt.wind[0]",), unit="m/s")
    _, model = written((wind,), (3.0,))
    assert model.opt.wind.tolist() == [3.0, 0.0, 0.0]


def test_the_solver_s_inertia_follows_the_masses():
    """`mj_setConst` leaves it as it was compiled; the solver's tolerance is relative to it."""
    mass = ContextParam("mass", 0.5, 2, fields=("body_mass", "body_inertia"), level="setconst")
    before, model = written((mass,), (2.0,))
    assert model.stat.meaninertia == sum(model.dof_M0.tolist()) / model.nv
    assert np.isclose(model.stat.meanmass, 2 * before["stat.meanmass"])


def judged(context, terms, rewards, actions):
    """The reward of a space whose context has all three arguments, for a batch."""
    space = ContextSpace(
        [
            ContextParam(name, -10, 10, 1.0, op="set", fields=(f"locomotion.{name}",), level="reward")
            for name in context
        ]
    )
    reward = ContextReward(space)
    values = reward.values(np.array([list(context.values())] * len(rewards)))
    return reward.judge(terms, rewards, values, actions, np.full(len(rewards), 0.05))


def test_rewards_are_those_of_the_formula():
    generator = np.random.default_rng(0)
    velocity, cost = generator.normal(size=5), generator.random(5).astype(np.float32)
    terms = {"x_velocity": velocity, "reward_forward": velocity, "reward_ctrl": -cost}
    rewards = velocity + 1.0 - cost
    actions = np.zeros((5, 3), np.float32)
    for direction in (-1.0, 1.0):
        for weight in (0.0, 1.0, 2.5):
            found = judged({"direction": direction, "control_cost": weight}, terms, rewards, actions)
            assert np.allclose(found, direction * velocity + 1.0 - weight * cost)
            context = {"control_cost": weight, "target_velocity": 0.7, "direction": direction}
            found = judged(context, terms, rewards, actions)
            assert np.allclose(found, 1.0 - np.abs(direction * velocity - 0.7) - weight * cost)
    neutral = judged({"direction": 1.0, "control_cost": 1.0}, terms, rewards, actions)
    assert np.array_equal(neutral, rewards)
    assert REWARDS["locomotion"].function is locomotion


def test_row_by_row_rewards_have_the_bits_of_one():
    generator = np.random.default_rng(1)
    velocity, cost = generator.normal(size=50), generator.random(50).astype(np.float32)
    terms = {"x_velocity": velocity, "reward_forward": velocity, "reward_ctrl": -cost}
    values = np.stack(
        [generator.normal(size=50), np.sign(generator.normal(size=50)), generator.random(50)], 1
    )
    rewards, dt = velocity - cost, np.full(50, 0.05)
    together = locomotion(terms, rewards, values, np.zeros((50, 2)), dt)
    for row in range(50):
        one = slice(row, row + 1)
        own = {name: numbers[one] for name, numbers in terms.items()}
        assert locomotion(own, rewards[one], values[one], np.zeros((1, 2)), dt[one])[0] == together[row]


def test_an_environment_pays_the_target_velocity():
    env = make("hyperrl/ContextualHalfCheetah-v0", "target_velocity", "control_cost")
    env.reset(seed=0, options={"context": {"target_velocity": 2.0, "control_cost": 0.5}})
    action = np.full(6, 0.3, np.float32)
    for _ in range(5):
        _, reward, _, _, info = env.step(action)
        assert np.isclose(reward, -abs(info["x_velocity"] - 2.0) - 0.5 * 0.1 * 6 * 0.09, rtol=1e-6)


def test_a_reward_needs_its_terms():
    param = ContextParam("direction", -1, 1, fields=("locomotion.direction",), level="reward", op="set")
    env = ContextualMujoco(gym.make("Reacher-v5"), [param])
    env.reset(seed=0)
    with pytest.raises(ContextError, match="needs x_velocity"):
        env.step(np.zeros(2, np.float32))


def test_healthy_heights_of_many_robots():
    scaled, moved = HealthyHeight(1), HealthyHeight(2, is_scaled=False)
    heights = np.array([1.0, 2.0])
    assert np.allclose(scaled.ranges((0.7, np.inf), heights, 1.25), [[0.56, np.inf], [1.12, np.inf]])
    assert moved.ranges((0.2, 1.0), heights, 0.75).tolist() == [[0.2, 1.25], [0.2, 2.25]]
