"""What the controller shows the policy is the environment's observation; mistakes in it are found."""

import dataclasses

import numpy as np
import pytest

from hyperrl.environments import make_env
from hyperrl.exporters.crazyflie import CompiledController, Setpoint, VehicleState
from hyperrl.exporters.crazyflie.controller import SetpointMode
from hyperrl.exporters.crazyflie.training import HEADING_CLIP, POSITION_CLIP, VELOCITY_CLIP
from hyperrl_envs.quadrotor.ids import QUADROTOR
from hyperrl_envs.quadrotor.trajectory import setpoints
from tests.exporters.crazyflie.artefacts import POLICIES, artefact, changed

MODES = Setpoint().modes


def states(count=40):
    """Random states of a simulation on trajectories, with the environment's own observations."""
    env = make_env(QUADROTOR, {"task": "trajectory"})
    robot, draw, found = env.unwrapped, np.random.default_rng(1), []
    for seed in range(count):
        env.reset(seed=seed)
        robot.data.time = draw.uniform(0, 4)
        robot.data.qvel[:3] += draw.normal(size=3) * 0.3
        views = robot.task.views(robot.model, robot.data)
        batch = {name: view[None].copy() for name, view in views.items()}
        batch["time"] = np.array([robot.data.time])
        place, speed = setpoints(np.array(robot.data.userdata)[None], batch["time"])
        # Near the setpoint's start episodes begin, and it has moved on.
        robot.data.qpos[:3] += place[0] - (0, 0, 2)
        batch["qpos"][0, :3] = robot.data.qpos[:3]
        quaternion = tuple(robot.data.qpos[3:7] * (-1) ** seed)  # Either stands for the same attitude.
        qvel = robot.data.qvel
        state = VehicleState(tuple(robot.data.qpos[:3]), tuple(qvel[:3]), quaternion, tuple(qvel[3:6]))
        found.append((state, Setpoint(tuple(place[0]), tuple(speed[0])), robot.task.observation(batch)[0]))
    env.close()
    return found


@pytest.fixture(scope="module")
def samples():
    return states()


@pytest.fixture(scope="module")
def controller():
    return CompiledController(artefact("random"))


def differences(folder, samples):
    """Largest difference of observations from the environment's, and of commands from the policy's."""
    controller, policy = CompiledController(folder), POLICIES["random"]
    assert controller.self_test()
    seen = commanded = 0.0
    for state, setpoint, observation in samples:
        seen = max(seen, np.abs(controller.observe(state, setpoint) - observation).max())
        controller.start()
        controller.enable(True)
        shares = controller.step(state, setpoint, 1)
        commanded = max(commanded, np.abs(shares - (policy(observation, np.float64) + 1) / 2).max())
    return seen, commanded


def test_observations_are_the_environments_and_commands_the_policys(samples):
    # Positions of 2 m and rates of a few rad/s in float32.
    seen, commanded = differences(artefact("random"), samples)
    assert seen < 2e-6
    assert commanded < 3e-6


MISTAKES = {
    "degrees taken for radians": [
        ("sensors->gyro.x * RADIANS_PER_DEGREE;", "sensors->gyro.x;"),
    ],
    "sign of the pitch rate": [("observation[16] = sensors", "observation[16] = -sensors")],
    "w taken for the quaternion's first": [
        (
            "rotationOf(&state->attitudeQuaternion, rotation);\n    const float heading",
            "const quaternion_t *s = &state->attitudeQuaternion;\n"
            "    const quaternion_t q = {.w = s->x, .x = s->y, .y = s->z, .z = s->w};\n"
            "    rotationOf(&q, rotation);\n    const float heading",
        ),
    ],
    "rotation transposed": [
        ("{rotation[0], rotation[3], rotation[6]}", "{rotation[0], rotation[1], rotation[2]}"),
        ("{rotation[1], rotation[4], rotation[7]}", "{rotation[3], rotation[4], rotation[5]}"),
        ("{rotation[2], rotation[5], rotation[8]}", "{rotation[6], rotation[7], rotation[8]}"),
    ],
    "velocity of the setpoint forgotten": [("state->velocity.x - setpoint->velocity.x", "state->velocity.x")],
    "setpoint minus position": [
        ("state->position.y - setpoint->position.y", "setpoint->position.y - state->position.y")
    ],
    "motors permuted": [("forces[motor] = share", "forces[(motor + 1) % 4] = share")],
    "motors of the other turn": [("forces[motor] = share", "forces[3 - motor] = share")],
    "actions not halved": [("0.5f * (action[motor] + 1.0f)", "(action[motor] + 1.0f)")],
    "actions not shifted": [("0.5f * (action[motor] + 1.0f)", "0.5f * action[motor]")],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake, samples, tmp_path):
    seen, commanded = differences(changed("random", tmp_path, MISTAKES[mistake]), samples)
    assert max(seen, commanded) > 1e-2


def turned(vector, angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y, z = vector
    return (cosine * x - sine * y, sine * x + cosine * y, z)


def turned_attitude(quaternion, angle):
    cosine, sine = np.cos(angle / 2), np.sin(angle / 2)
    w, x, y, z = quaternion
    return (cosine * w - sine * z, cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w)


@pytest.mark.parametrize("by", ["yaw", "quaternion"])
def test_another_heading_is_flown_alike_in_a_turned_world(by, controller, samples):
    for (state, setpoint, observation), angle in zip(
        samples, np.linspace(-3.1, 6.2, len(samples)), strict=True
    ):
        there = VehicleState(
            turned(state.position, angle),
            turned(state.velocity, angle),
            turned_attitude(state.quaternion, angle),
            state.angular_rate,
        )
        wanted = Setpoint(turned(setpoint.position, angle), turned(setpoint.velocity, angle), angle)
        if by == "quaternion":
            modes = (*MODES[:5], SetpointMode.DISABLED, SetpointMode.ABSOLUTE)
            attitude = turned_attitude((1.0, 0.0, 0.0, 0.0), angle)
            wanted = dataclasses.replace(wanted, heading=0.3, modes=modes, quaternion=attitude)
        np.testing.assert_allclose(controller.observe(there, wanted), observation, atol=5e-6)


def test_far_setpoints_look_as_if_they_were_near(controller):
    still = (0.0, 0.0, 0.0)
    for angle in (-3.0, -1.2, 1.2, 3.0):
        state = VehicleState(still, (0.0, 4.0, 0.0), turned_attitude((1.0, 0.0, 0.0, 0.0), angle), still)
        # Turned by an angle that is clipped, the axes of the policy's world are those of the clipped heading.
        seen = controller.observe(state, Setpoint())
        assert np.arctan2(seen[9], seen[6]) == pytest.approx(np.sign(angle) * HEADING_CLIP, abs=1e-6)
    seen = controller.observe(
        VehicleState((3.0, -0.4, -2.0), (9.0, 0.1, -9.0), (1.0, 0.0, 0.0, 0.0), still), Setpoint()
    )
    np.testing.assert_allclose(seen[:3], [POSITION_CLIP, -0.4, -POSITION_CLIP], rtol=1e-6)
    np.testing.assert_allclose(seen[3:6], [VELOCITY_CLIP, 0.1, -VELOCITY_CLIP], rtol=1e-6)
