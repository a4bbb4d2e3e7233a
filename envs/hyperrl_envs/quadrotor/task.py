"""What the quadrotor has to do, as the simulations that are stepped together and the single one see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ConfigError, unknown_name
from hyperrl_envs.native.model import named
from hyperrl_envs.native.task import Array, Batch, Outcome, Task, joined, square_sum
from hyperrl_envs.quadrotor.robot import REDRAWN, draw_robot, hover_control
from hyperrl_envs.quadrotor.rotation import draw_attitude, rotation_matrices
from hyperrl_envs.quadrotor.trajectory import SIZE, draw_trajectory, setpoints

TASKS = ("hover", "trajectory", "mixed")
"""Hovering at a point; following a moving one; either, with equal chance, in each episode."""

XML_FILE = str(Path(__file__).parent / "crazyflie.xml")

_AXES = "xyz"
OBSERVATION_NAMES = (
    *(f"position_error_{axis}" for axis in _AXES),
    *(f"velocity_error_{axis}" for axis in _AXES),
    *(f"rotation_{row}{column}" for row in _AXES for column in _AXES),
    *(f"angular_rate_{axis}" for axis in _AXES),
)
OBSERVATION_UNITS = ("m",) * 3 + ("m/s",) * 3 + ("1",) * 9 + ("rad/s",) * 3
ACTION_NAMES = ("thrust_m1", "thrust_m2", "thrust_m3", "thrust_m4")
ACTION_UNITS = ("1",) * 4  # -1 is no thrust, 1 the greatest.
CONVENTIONS = {
    "world frame": "right-handed, z up; positions and velocities are those of the centre of mass",
    "body frame": "x forward, y left, z up",
    "errors": "the robot's value minus the setpoint's, in the world frame",
    "rotation": "matrix from the body frame to the world frame, row by row; MuJoCo's quaternions behind it "
    "are (w, x, y, z)",
    "angular rate": "in the body frame, rad/s",
    "setpoint heading": "the world's x axis, always",
    "motor order": "M1 front right, M2 back right, M3 back left, M4 front left, as in Bitcraze's firmware",
    "motor direction": "seen from above M1 and M3 turn counter-clockwise, M2 and M4 clockwise",
    "thrust": "-1 is no thrust and 1 is 0.1125 N for one motor, linear in between",
}
"""What the numbers mean beside their units, for those who build observations on a robot."""

_PLACE, _SPEED, _TURN = slice(0, 3), slice(3, 6), slice(15, 18)  # In the observation.
_FORWARD, _UPRIGHT = 6, 14  # There: how far the body's x axis is the world's, and its z axis.

_START_POSITION = 0.5  # Greatest distance from the setpoint along each axis, in metres.
_START_VELOCITY = 0.5  # Greatest along each axis, in m/s.
_START_TILT = 0.6  # Greatest angle from upright, in radians.
_START_HEADING = 0.6  # Greatest angle from the setpoint's heading, in radians.
_START_RATE = 1.5  # Greatest along each axis, in rad/s.
_START_CONTROL = 0.2  # Greatest distance of a motor from hovering, as a control.

_FURTHEST = 1.5  # Position error along an axis, in metres.
_FASTEST = 5.0  # Velocity error, in m/s.
_FASTEST_TURN = 34.9  # Angular rate, in rad/s: 2000 degrees a second, the range of the Crazyflie's gyroscope.

_POSITION = (0.55, 0.25)  # Weight in the reward, and the error in metres at which a share of 1/e remains.
_VELOCITY = (0.15, 0.75)  # In m/s.
_RATE = (0.1, 2.0)  # In rad/s.
_HEADING = (0.1, 0.5)  # Distance of the body's forward axis from the setpoint's, both of length one.
_EFFORT = (0.1, 0.3)  # Root mean square distance of the controls from the present thrusts.


@dataclass(frozen=True, kw_only=True)
class Quadrotor(Task):
    """Fly to a setpoint and stay with it.

    The observation has 18 numbers: position minus the setpoint's (m) and velocity minus the setpoint's (m/s),
    both in the world's frame, the rotation matrix from the body's frame to the world's row by row, and the
    angular rate in the body's frame (rad/s). The setpoint rests in hovering, and its heading is always zero.
    How fast the rotors turn is hidden.

    The reward of a step lies in [0, 1]: a weighted sum of ``exp(-error / scale)`` with weight and scale for
    position (0.55, 0.25 m), velocity (0.15, 0.75 m/s), angular rate (0.1, 2 rad/s), the distance of the
    body's forward axis from the setpoint's (0.1, 0.5) and the root mean square distance of the controls from
    the thrusts that the lagging motors have (0.1, 0.3). An episode terminates when the position error along
    an axis exceeds 1.5 m, the velocity error 5 m/s, the angular rate 34.9 rad/s or the tilt 90°.

    Attributes:
        xml_file: Path of the model.
        frame_skip: Simulation steps of one step: 5 of 2 ms are 100 Hz, a tenth of the rate of the Crazyflie's
            stabiliser loop.
        task: "hover", "trajectory" or "mixed", see `TASKS`.
        domain_randomisation: Whether each episode draws another robot, see `hyperrl_envs.quadrotor.robot`.
        reset_noise_scale: Multiplies the distances from the setpoint within which episodes start: 0.5 m and
            0.5 m/s along each axis, 0.6 rad of tilt and of heading, 1.5 rad/s about each axis.
    """

    timed: ClassVar[bool] = True

    xml_file: str = XML_FILE
    frame_skip: int = 5
    task: str = "hover"
    domain_randomisation: bool = False
    reset_noise_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a task that there is not."""
        if self.task not in TASKS:
            raise unknown_name("task of the quadrotor", self.task, TASKS)

    @property
    def redrawn(self) -> tuple[str, ...]:
        """Names of the model's arrays that episodes change, see `Task.redrawn`."""
        return REDRAWN if self.domain_randomisation else ()

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities, the motors' thrusts and the trajectory, see `Task.views`."""
        if len(data.userdata) != SIZE or model.nu != len(ACTION_NAMES) or model.na != model.nu:
            raise ConfigError(
                f"the model of the quadrotor needs {len(ACTION_NAMES)} motors with a lag each and {SIZE} "
                "numbers of userdata"
            )
        named(model.body, "body", "quadrotor")
        named(model.geom, "geom", "setpoint")
        return {**super().views(model, data), "act": data.act, "trajectory": data.userdata}

    def observation(self, batch: Batch) -> Array:
        """Return errors, attitudes and angular rates, see `Task.observation`."""
        position, velocity = setpoints(batch["trajectory"], batch["time"])
        return joined(
            (
                batch["qpos"][:, :3] - position,
                batch["qvel"][:, :3] - velocity,
                rotation_matrices(batch["qpos"][:, 3:7]),
                batch["qvel"][:, 3:6],
            )
        )

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward being near the setpoint, see the class; see `Task.outcome`."""
        seen = self.observation(after)
        position, velocity, rate = (_length(seen[:, part]) for part in (_PLACE, _SPEED, _TURN))
        # The distance of two vectors of length one by their product.
        heading = np.sqrt(np.maximum(2 * (1 - seen[:, _FORWARD]), 0))
        changes = np.clip(actions, -1, 1, dtype=np.float64) - before["act"]
        effort = np.sqrt(square_sum(changes) / changes.shape[1])
        rewards = (
            _share(position, _POSITION)
            + _share(velocity, _VELOCITY)
            + _share(rate, _RATE)
            + _share(heading, _HEADING)
            + _share(effort, _EFFORT)
        )
        lost = (
            (np.abs(seen[:, _PLACE]) > _FURTHEST).any(axis=1)
            | (velocity > _FASTEST)
            | (rate > _FASTEST_TURN)
            | (seen[:, _UPRIGHT] < 0)
            | ~np.isfinite(seen).all(axis=1)
        )
        terms = {"position_error": position, "velocity_error": velocity}
        return Outcome(np.where(np.isfinite(rewards), rewards, 0.0), np.asarray(lost), terms)

    def prepare(
        self, generator: np.random.Generator, model: Any, data: Any, published: Mapping[str, Array]
    ) -> None:
        """Draw the robot, the trajectory and how fast the rotors turn, see `Task.prepare`."""
        if self.domain_randomisation:
            draw_robot(generator, model, published)
        if self.task == "trajectory" or (self.task == "mixed" and generator.uniform() < 0.5):
            data.userdata[:] = draw_trajectory(generator)
        spread = _START_CONTROL * self.reset_noise_scale
        start = hover_control(model) + generator.uniform(-spread, spread, size=model.nu)
        data.act[:] = np.clip(start, -1, 1)

    def draw(self, generator: np.random.Generator, qpos0: Array, qvel0: Array) -> tuple[Array, Array]:
        """Draw position, attitude, velocity and angular rate about the setpoint's start; see `Task.draw`."""
        scale = self.reset_noise_scale
        qpos, qvel = qpos0.copy(), qvel0.copy()
        qpos[:3] += generator.uniform(-_START_POSITION, _START_POSITION, size=3) * scale
        qpos[3:7] = draw_attitude(generator, _START_TILT * scale, _START_HEADING * scale)
        qvel[:3] += generator.uniform(-_START_VELOCITY, _START_VELOCITY, size=3) * scale
        qvel[3:6] += generator.uniform(-_START_RATE, _START_RATE, size=3) * scale
        return qpos, qvel

    def show(self, model: Any, data: Any) -> None:
        """Draw the ball of the setpoint where it is now, see `Task.show`."""
        position, _ = setpoints(data.userdata[None], np.array([data.time]))
        data.geom_xpos[model.geom("setpoint").id] = position[0]


def _length(rows: Array) -> Array:
    return np.asarray(np.sqrt(square_sum(np.ascontiguousarray(rows))))


def _share(error: Array, part: tuple[float, float]) -> Array:
    weight, scale = part
    return np.asarray(weight * np.exp(error / -scale))
