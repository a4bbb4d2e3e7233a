"""The quadrotor flies through the compiled controller as it does with the same policy in its environment."""

import csv
import io

import numpy as np
import pytest

from hyperrl.environments import make_env
from hyperrl.errors import UnsupportedEnvError
from hyperrl.evaluation.film import Film
from hyperrl.evaluation.flight import EPISODE_STEPS, fly, fly_in_environment
from hyperrl.evaluation.flight_plot import flight_table, plot_flight
from hyperrl.exporters.crazyflie import CompiledController, Mode, Reason
from hyperrl_envs.quadrotor.ids import QUADROTOR
from tests.exporters.crazyflie.artefacts import POLICIES, artefact, changed


@pytest.fixture(scope="module")
def controller():
    return CompiledController(artefact("linear"))


def flown(controller, task, seed, seconds, **settings):
    env = make_env(QUADROTOR, {"task": task, **settings})
    flight = fly(controller, env, seed, seconds)
    env.close()
    return flight


@pytest.fixture(scope="module")
def trajectory(controller):
    return flown(controller, "trajectory", 3, 6.0)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("task", ["hover", "trajectory"])
def test_the_compiled_controller_flies_as_the_policy_in_its_environment(task, seed, controller):
    flight = flown(controller, task, seed, 5.0)
    env = make_env(QUADROTOR, {"task": task})
    # The truth: float64, the environment's own observations and steps.
    truth = fly_in_environment(
        lambda rows: POLICIES["linear"](rows, np.float64), env, seed, len(flight.times)
    )
    env.close()
    assert flight.completed
    assert len(flight.times) == EPISODE_STEPS
    np.testing.assert_allclose(flight.positions, truth, atol=2e-6)
    assert flight.settled.mean() < (0.02 if task == "hover" else 0.3)


def test_rewards_errors_and_setpoints_are_the_environments(controller):
    flight = flown(controller, "trajectory", 5, 5.0)
    env = make_env(QUADROTOR, {"task": "trajectory"})
    observation, _ = env.reset(seed=5)
    rewards, errors, truncated = [], [], False
    while not truncated:
        errors.append(np.linalg.norm(observation[:3]))
        observation, reward, _, truncated, _ = env.step(POLICIES["linear"](observation, np.float64))
        rewards.append(reward)
    env.close()
    np.testing.assert_allclose(flight.rewards, rewards, atol=1e-5)
    np.testing.assert_allclose(flight.errors, errors, atol=2e-6)
    assert flight.episode_return == pytest.approx(sum(rewards), abs=1e-3)
    np.testing.assert_allclose(
        np.linalg.norm(flight.positions - flight.setpoints, axis=1), flight.errors, atol=1e-12
    )


CLOSED_LOOP_MISTAKES = {
    "sign of the roll rate": [("observation[15] = sensors", "observation[15] = -sensors")],
    "motors of the other turn": [("forces[motor] = share", "forces[3 - motor] = share")],
    "quaternion of the other direction": [
        (
            "rotation);\n    const float heading",
            "rotation);\n    rotation[2] = -rotation[2];\n    rotation[5] = -rotation[5];\n"
            "    const float heading",
        )
    ],
}


@pytest.mark.parametrize("mistake", CLOSED_LOOP_MISTAKES)
def test_a_wrong_sign_does_not_fly(mistake, tmp_path):
    wrong = CompiledController(changed("linear", tmp_path, CLOSED_LOOP_MISTAKES[mistake]))
    flight = flown(wrong, "hover", 0, 5.0)
    assert not flight.completed


def test_the_flight_ends_where_the_controller_gives_up(tmp_path):
    """A controller that is content with less than the environment."""
    limit = [("#define HYPERRL_POSITION_LIMIT 1.5e+00f", "#define HYPERRL_POSITION_LIMIT 0.1f")]
    strict = CompiledController(changed("linear", tmp_path, limit, "hyperrl_controller.h"))
    flight = flown(strict, "hover", 0, 5.0)
    assert (flight.reason, flight.crashed, flight.completed) == (Reason.FAR, False, False)
    assert strict.mode == Mode.TRIPPED
    assert len(flight.times) == len(flight.errors) == len(flight.settled) == 0
    assert flight.shares.shape[0] == 0


def test_each_flight_of_randomised_robots_has_another(controller):
    flights = [flown(controller, "hover", 1, 1.0, domain_randomisation=on) for on in (False, True)]
    assert np.abs(flights[0].positions[-1] - flights[1].positions[-1]).max() > 1e-3


def test_the_table_is_the_flight(trajectory):
    rows = list(csv.DictReader(io.StringIO(flight_table(trajectory).decode())))
    assert len(rows) == len(trajectory.times) == 600
    read = np.array(
        [[float(row[name]) for name in ("time_s", "x_m", "setpoint_z_m", "m3_share")] for row in rows]
    )
    columns = (
        trajectory.times,
        trajectory.positions[:, 0],
        trajectory.setpoints[:, 2],
        trajectory.shares[:, 2],
    )
    np.testing.assert_allclose(read, np.stack(columns, axis=1), rtol=1e-6, atol=1e-9)


def test_the_plot_is_a_picture(trajectory):
    data = plot_flight(trajectory, "a flight")
    assert data.startswith(b"\x89PNG")
    assert 20_000 < len(data) < 1_000_000


def test_what_cannot_be_drawn_is_said_in_a_sentence(controller, monkeypatch):
    import mujoco

    def no_driver(*arguments):
        raise RuntimeError("no OpenGL\nplatform")

    monkeypatch.setattr(mujoco, "Renderer", no_driver)
    env = make_env(QUADROTOR)
    with pytest.raises(UnsupportedEnvError, match=r"\(no OpenGL platform\): try MUJOCO_GL=egl"):
        fly(controller, env, 0, 0.1, Film(env))
    env.close()
