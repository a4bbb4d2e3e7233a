"""The quadrotor's contexts, beside the mechanics of a rigid body and a model that is written otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import mujoco
import numpy as np
import pytest

from hyperrl.environments import make_env
from hyperrl.errors import ConfigError
from hyperrl_envs.contextual.loaded_quadrotor import BELOW
from hyperrl_envs.quadrotor.robot import hover_control
from hyperrl_envs.quadrotor.task import XML_FILE

QUADROTOR = "hyperrl/ContextualQuadrotor-v0"
MASS, INERTIA = 0.027, np.array([16.571710e-6, 16.655602e-6, 29.261652e-6])
NAMES = ["mass", "inertia", "motor_strength", "motor_lag", "payload"]
CONTEXTS = [
    {"payload": 0.01},
    {"payload": 0.004, "mass": 1.3, "inertia": 0.6},
    {"motor_strength": 0.8, "motor_lag": 1.5, "mass": 0.9},
]


def in_context(context, **settings):
    env = make_env(QUADROTOR, {"context": NAMES, "mode": "hidden", **settings})
    env.reset(seed=0, options={"context": context})
    return env.unwrapped


def steiner(context):
    """Mass, height of the centre of mass and moments about it of robot and payload together."""
    robot, payload = MASS * context.get("mass", 1.0), context.get("payload", 0.0)
    reduced = robot * payload / (robot + payload)
    inertia = INERTIA * context.get("inertia", 1.0) + [reduced * BELOW**2, reduced * BELOW**2, 0]
    return robot + payload, -BELOW * payload / (robot + payload), inertia


def flat(env, thrusts):
    """Accelerations of a robot that rests level in the air, with motors that have these controls."""
    data = env.data
    mujoco.mj_resetData(env.model, data)
    data.act[:] = data.ctrl[:] = thrusts
    mujoco.mj_forward(env.model, data)
    return data.qacc.copy()


@pytest.mark.parametrize("context", CONTEXTS)
def test_accelerations_are_those_of_a_rigid_body(context):
    env = in_context(context)
    total, height, inertia = steiner(context)
    strength = context.get("motor_strength", 1.0)
    greatest, arm, drag = 0.1125 * strength, 0.0325269, 0.005964552
    # All motors alike: along z alone.
    assert flat(env, np.zeros(4)) == pytest.approx([0, 0, 2 * greatest / total - 9.81, 0, 0, 0], abs=1e-9)
    # M1 and M2 are on the right, M3 and M4 on the left: a difference turns the robot about x.
    controls = np.array([-0.1, -0.1, 0.1, 0.1])
    turning = 4 * 0.05 * greatest * arm / inertia[0]
    found = flat(env, controls)
    # The frame lies above the centre of mass, so turning moves it sideways.
    sideways = -np.cross([turning, 0, 0], [0, 0, height])
    assert found == pytest.approx([*sideways[:2], 2 * greatest / total - 9.81, turning, 0, 0], abs=1e-7)
    # M2 and M4 turn clockwise: their reaction turns the body counter-clockwise.
    yaw = 4 * 0.05 * greatest * drag / inertia[2]
    assert flat(env, [-0.1, 0.1, -0.1, 0.1])[3:] == pytest.approx([0, 0, yaw], abs=1e-9)


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_flight_is_that_of_one_body_with_the_same_numbers(context, tmp_path):
    total, height, inertia = steiner(context)
    text = Path(XML_FILE).read_text(encoding="utf-8")
    inertial = f'<inertial pos="0 0 {height:.17g}" mass="{total:.17g}" diaginertia="{inertia[0]:.17g} '
    inertial += f'{inertia[1]:.17g} {inertia[2]:.17g}"/>'
    text, count = re.subn("<inertial .*/>", inertial, text)
    strength, lag = 0.05625 * context.get("motor_strength", 1.0), 0.0647 * context.get("motor_lag", 1.0)
    text = text.replace('dynprm="0.0647"', f'dynprm="{lag:.17g}"').replace('"0.05625"', f'"{strength:.17g}"')
    path = tmp_path / "other.xml"
    path.write_text(text, encoding="utf-8")
    assert count == 1
    env = in_context(context)
    other = make_env("hyperrl/Quadrotor-v0", {"xml_file": str(path)})
    other.reset(seed=0)
    # One starts where the other is.
    other.unwrapped.data.act[:] = env.data.act
    other.unwrapped.set_state(env.data.qpos, env.data.qvel)
    generator = np.random.default_rng(0)
    for _ in range(60):
        action = (hover_control(env.model) + generator.uniform(-0.1, 0.1, 4)).astype(np.float32)
        assert env.step(action)[0] == pytest.approx(other.step(action)[0], abs=1e-7)


def test_hovering_carries_the_payload():
    env = in_context({"payload": 0.008, "mass": 1.1})
    assert flat(env, np.full(4, hover_control(env.model))) == pytest.approx(np.zeros(6), abs=1e-9)


def test_the_default_context_is_the_published_robot():
    plain, env = make_env("hyperrl/Quadrotor-v0").unwrapped, in_context({})
    plain.reset(seed=0)
    for step in range(100):
        action = np.full(4, 0.18, np.float32)
        left, right = plain.step(action), env.step(action)
        # Two bodies instead of one: the same but for rounding.
        assert right[0] == pytest.approx(left[0], abs=1e-8), step
        assert right[2] == left[2]
        if left[2]:
            break


def test_a_model_without_a_quadrotor_is_refused(tmp_path):
    path = tmp_path / "other.xml"
    path.write_text("<mujoco/>", encoding="utf-8")
    with pytest.raises(ConfigError, match="no body 'quadrotor'"):
        make_env(QUADROTOR, {"xml_file": str(path)})
