"""The quadrotor flies as the laws of motion say, with signs and motors as in the firmware."""

from __future__ import annotations

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from hyperrl_envs.quadrotor.ids import QUADROTOR
from tests.envs.quadrotor.controller import (
    ARM,
    GRAVITY,
    INERTIA,
    MASS,
    PITCH,
    ROLL,
    THRUST,
    TIME_CONSTANT,
    TORQUE,
    YAW,
    control,
)

HOVER = MASS * GRAVITY / 4 / THRUST * 2 - 1
STEP = 0.01


def still(**settings):
    """An environment whose episodes start at rest, upright, hovering at the setpoint."""
    env = gym.make(QUADROTOR, reset_noise_scale=0.0, **settings)
    observation, _ = env.reset(seed=0)
    return env, observation


def with_thrusts(env, actions):
    env.unwrapped.data.act[:] = actions
    return env.step(np.asarray(actions, np.float32))[0]


@pytest.mark.parametrize("randomised", [False, True])
@pytest.mark.parametrize("task", ["hover", "trajectory"])
def test_a_controller_made_by_hand_flies(task, randomised):
    env = gym.make(QUADROTOR, task=task, domain_randomisation=randomised)
    errors = []
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        for _ in range(500):
            observation, _, terminated, truncated, info = env.step(control(observation))
            assert not terminated
        assert truncated
        errors.append(info["position_error"])
    # It knows neither the weight of a randomised robot nor where the trajectory turns.
    assert max(errors) < (1e-3 if (task, randomised) == ("hover", False) else 0.6)


@pytest.mark.parametrize("index", range(4))
def test_a_controller_that_swaps_motors_falls(index):
    env = gym.make(QUADROTOR)
    observation, _ = env.reset(seed=0)
    terminated, swapped = False, [index, (index + 1) % 4]
    for _ in range(400):
        action = control(observation)
        action[swapped] = action[swapped[::-1]]
        observation, _, terminated, _, _ = env.step(action)
        if terminated:
            break
    assert terminated


def test_without_thrust_it_falls_freely():
    env, observation = still()
    for count in range(1, 21):
        observation = with_thrusts(env, -np.ones(4))
        assert np.allclose(observation[3:6], [0, 0, -GRAVITY * count * STEP], atol=1e-12)
    assert np.array_equal(observation[6:15].reshape(3, 3), np.eye(3))


def test_the_thrust_of_hovering_carries_the_weight():
    env, observation = still()
    assert np.allclose(observation, [*[0] * 6, *np.eye(3).ravel(), *[0] * 3])
    for _ in range(200):
        observation, reward, *_ = env.step(np.full(4, HOVER))
    assert np.allclose(observation, [*[0] * 6, *np.eye(3).ravel(), *[0] * 3], atol=1e-6)
    assert reward == pytest.approx(1, abs=1e-5)


def test_more_thrust_accelerates_in_closed_form():
    env, _ = still()
    observation = with_thrusts(env, np.full(4, 0.6))
    assert observation[5] == pytest.approx((4 * 0.8 * THRUST / MASS - GRAVITY) * STEP, rel=1e-6)


@pytest.mark.parametrize("index", range(4))
def test_each_motor_turns_the_body_as_in_the_firmware(index):
    env, _ = still()
    actions = np.full(4, HOVER)
    actions[index] += 1e-3
    rate = with_thrusts(env, actions)[15:]
    more = 1e-3 / 2 * THRUST
    torque = more * np.array([ROLL[index] * ARM, PITCH[index] * ARM, YAW[index] * TORQUE])
    assert np.allclose(rate, torque / INERTIA * STEP, rtol=1e-3, atol=1e-9)


def test_motors_lag_by_the_published_time():
    env, _ = still()
    act = env.unwrapped.data.act
    start = act.copy()
    for count in range(1, 30):
        env.step(np.full(4, 0.9))
        left = np.exp(-count * STEP / TIME_CONSTANT)
        # The model rounds the time constant to a tenth of a millisecond.
        assert np.allclose(act, 0.9 + (start - 0.9) * left, rtol=0, atol=5e-4)


def test_beyond_the_bounds_there_is_no_more_thrust():
    first, second = still()[0], still()[0]
    for action in (np.full(4, 1.0), np.full(4, -1.0)):
        expected, found = first.step(action), second.step(action * 7)
        assert np.array_equal(expected[0], found[0])
        assert expected[1] == found[1]


def test_the_weights_and_lengths_are_the_published_ones():
    model = still()[0].unwrapped.model
    body = model.body("quadrotor")
    assert (body.mass[0], *body.inertia) == pytest.approx((MASS, *INERTIA))
    assert model.opt.timestep * 5 == pytest.approx(STEP)
    # Masses of drawn shapes would add to the published one.
    assert model.body_mass.sum() == body.mass[0]
    for index, name in enumerate(["M1", "M2", "M3", "M4"]):
        assert model.site(name).pos == pytest.approx([-ARM * PITCH[index], ARM * ROLL[index], 0], rel=1e-5)
        assert model.actuator(name).gear == pytest.approx([0, 0, 1, 0, 0, YAW[index] * TORQUE])
        assert model.actuator(name).dynprm[0] == pytest.approx(TIME_CONSTANT, rel=1e-3)
        assert (model.actuator(name).dyntype[0], model.actuator(name).actnum[0]) == (
            mujoco.mjtDyn.mjDYN_FILTEREXACT,
            1,
        )
