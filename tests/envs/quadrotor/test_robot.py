"""Randomised robots, and states that hold them."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from hyperrl.environments import is_native
from hyperrl.errors import ConfigError, UnsupportedEnvError
from hyperrl_envs.native import make_native
from hyperrl_envs.quadrotor import robot
from hyperrl_envs.quadrotor.ids import QUADROTOR
from hyperrl_envs.quadrotor.task import XML_FILE
from hyperrl_envs.saved_state import capture_plain, restore_plain
from hyperrl_envs.simulator_state import capture_state, restore_state
from tests.envs.native.pairs import assert_same_steps, random_actions
from tests.run.doubles import through_a_file

DRAWN = {"task": "mixed", "domain_randomisation": True}
SETTINGS = [
    {"task": "trajectory"},
    {**DRAWN, "max_episode_steps": 30},
    {**DRAWN, "frame_skip": 3, "reset_noise_scale": 0.5},
]


def arrays(model):
    found = {name: getattr(model, name) for name in dir(model) if name[0] != "_"}
    return {name: np.array(value) for name, value in found.items() if isinstance(value, np.ndarray)}


def test_a_drawn_robot_is_the_one_that_its_numbers_compile_to():
    env = gym.make(QUADROTOR, domain_randomisation=True)
    env.reset(seed=5)
    drawn = env.unwrapped.model
    spec = mujoco.MjSpec.from_file(XML_FILE)
    body = spec.body("quadrotor")
    body.mass, body.inertia = drawn.body("quadrotor").mass[0], drawn.body("quadrotor").inertia
    for actuator in spec.actuators:
        other = drawn.actuator(actuator.name)
        actuator.gainprm, actuator.biasprm, actuator.dynprm = other.gainprm, other.biasprm, other.dynprm
        actuator.gear = other.gear
    expected, published = arrays(spec.compile()), arrays(mujoco.MjModel.from_xml_path(XML_FILE))
    differing = {name for name, value in expected.items() if not np.array_equal(value, published[name])}
    assert differing == set(robot.REDRAWN)
    for name, value in arrays(drawn).items():
        assert np.allclose(value, expected[name], rtol=1e-12, atol=0), name


def test_factors_fill_their_ranges():
    env = gym.make(QUADROTOR, domain_randomisation=True)
    model, factors = env.unwrapped.model, []
    first = {name: getattr(model, name).copy() for name in robot.REDRAWN}
    body = model.body("quadrotor").id
    for seed in range(200):
        env.reset(seed=seed)
        thrusts = model.actuator_gainprm[:, 0] / first["actuator_gainprm"][:, 0]
        assert np.array_equal(model.actuator_gainprm[:, 0], model.actuator_biasprm[:, 0])
        assert len(set(thrusts)) == 4
        factors.append(
            [
                model.body_mass[body] / first["body_mass"][body],
                (model.body_inertia[body] / first["body_inertia"][body])[1],
                thrusts[2],
                model.actuator_gear[0, 5] / first["actuator_gear"][0, 5],
                model.actuator_dynprm[3, 0] / first["actuator_dynprm"][3, 0],
            ]
        )
    low, high = np.min(factors, axis=0), np.max(factors, axis=0)
    thrust = np.multiply(robot.THRUST, robot.MOTOR)
    bounds = np.array([robot.MASS, robot.INERTIA, thrust, robot.TORQUE, robot.TIME_CONSTANT])
    width = np.ptp(bounds, axis=1)
    assert (low >= bounds[:, 0] - 1e-12).all()
    assert (high <= bounds[:, 1] + 1e-12).all()
    assert (high - low > 0.85 * width).all()
    assert np.abs(np.corrcoef(np.array(factors).T) - np.eye(5)).max() < 0.35


def test_without_randomisation_the_model_stays_and_is_shared():
    native = make_native(QUADROTOR, 3, 0)
    assert len({id(env.model) for env in native.envs}) == 1
    before = arrays(native.envs[0].model)
    native.reset()
    for actions in random_actions(QUADROTOR, 100, 3):
        native.step(actions)
    after = arrays(native.envs[0].model)
    assert all(np.array_equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("settings", SETTINGS)
def test_many_together_have_the_bits_of_one(settings):
    assert_same_steps(QUADROTOR, random_actions(QUADROTOR, 120, 4), **settings)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_single_environment_goes_on_from_its_state(settings):
    first, other = (gym.make(QUADROTOR, **settings) for _ in range(2))
    actions = random_actions(QUADROTOR, 150, 1)[:, 0]
    first.reset(seed=3)
    trace(first, actions[:10])
    state = through_a_file(capture_plain(first))
    expected = trace(first, actions[10:])
    for env in (first, other):
        restore_plain(env, state)
        assert trace(env, actions[10:]) == expected


@pytest.mark.parametrize("settings", SETTINGS)
def test_many_go_on_from_their_states(settings):
    first, other = (make_native(QUADROTOR, 3, 7, **settings) for _ in range(2))
    actions = random_actions(QUADROTOR, 150, 3)
    first.reset()
    other.reset()
    for batch in actions[:25]:
        first.step(batch)
    states = through_a_file(first.get_state())
    expected = [first.step(batch)[:3] for batch in actions[25:]]
    other.set_state(states)
    for batch, wanted in zip(actions[25:], expected, strict=True):
        for found, value in zip(other.step(batch)[:3], wanted, strict=True):
            assert np.array_equal(found, value)


@pytest.mark.parametrize("drawn", [False, True])
def test_a_drawn_robot_does_not_get_into_an_environment_of_the_published_one(drawn):
    env = gym.make(QUADROTOR, domain_randomisation=drawn)
    other = gym.make(QUADROTOR, domain_randomisation=not drawn)
    env.reset(seed=0)
    other.reset(seed=0)
    before = other.unwrapped.model.body_mass.copy()
    with pytest.raises(UnsupportedEnvError, match="from a MuJoCo model with another actuator_acc0"):
        restore_state(other, capture_state(env))
    np.testing.assert_array_equal(other.unwrapped.model.body_mass, before)


def test_drawn_robots_cannot_share_a_model():
    model = mujoco.MjModel.from_xml_path(XML_FILE)
    with pytest.raises(ConfigError, match="a model of its own"):
        make_native(QUADROTOR, 2, models=[model, model], domain_randomisation=True)
    make_native(QUADROTOR, 2, models=[model, model]).reset()


def test_the_id_is_known_by_the_package_which_stays_light():
    code = (
        "import sys, gymnasium as gym, hyperrl_envs\n"
        "print(sorted({'torch', 'mujoco', 'stable_baselines3'} & set(sys.modules)))\n"
        f"print({QUADROTOR!r} in gym.registry)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True"]
    assert gym.make(f"hyperrl_envs:{QUADROTOR}").unwrapped.dt == 0.01
    assert is_native(QUADROTOR, DRAWN)


def trace(env, actions):
    """Everything that steps return, and the resets between them, as one text."""
    found = []
    for action in actions:
        observation, *rest = env.step(action)
        again = env.reset()[0].tolist() if rest[1] or rest[2] else None
        found.append(repr([observation.tolist(), *rest, again]))
    return found
