"""The quadrotor as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, ClassVar

from gymnasium.utils import EzPickle

from hyperrl_envs.native.arguments import split_arguments
from hyperrl_envs.native.task_env import TaskEnv
from hyperrl_envs.quadrotor.ids import QUADROTOR
from hyperrl_envs.quadrotor.task import (
    ACTION_NAMES,
    ACTION_UNITS,
    CONVENTIONS,
    OBSERVATION_NAMES,
    OBSERVATION_UNITS,
    XML_FILE,
    Quadrotor,
)

DEFAULT_CAMERA_CONFIG = {
    "type": 1,  # Tracks a body.
    "trackbodyid": 1,
    "distance": 1.1,
    "azimuth": 32.0,
    "elevation": -17.0,
}


class QuadrotorEnv(TaskEnv):
    """A Crazyflie 2.1 that flies to a setpoint and stays with it, see `Quadrotor` for the task.

    Actions are the thrusts of the motors M1 (front right), M2 (back right), M3 (back left) and M4 (front
    left) in the order of the Crazyflie's firmware; -1 is no thrust and 1 the greatest. M1 and M3 turn the
    body clockwise seen from above, M2 and M4 counter-clockwise. Thrusts follow with a lag.

    Args:
        xml_file: Path of the model.
        frame_skip: Simulation steps of one step; 5 are 100 Hz.
        default_camera_config: Settings of the free camera, which "human" begins with.
        camera_id: Number of the model's camera, instead of its name.
        camera_name: Name of the model's camera for pictures: "track" follows the robot, "overview" stands.
        task: "hover", "trajectory" or "mixed".
        domain_randomisation: Whether each episode draws another robot.
        reset_noise_scale: Multiplies the distances from the setpoint within which episodes start.
        **kwargs: Of `gymnasium.envs.mujoco.MujocoEnv`: `render_mode` and what else concerns pictures.

    Attributes:
        task: The task with its settings.
        kind: The class of the task.
        observation_names: What each number of the observation is.
        observation_units: Its unit.
        action_names: What each number of the action is.
        action_units: Its unit.
        conventions: Frames, orders and directions, by name.
        redrawn_parameters: The model's arrays that episodes change; they are part of the state.

    Raises:
        UnknownNameError: There is no such task, keyword argument or render mode.
        ConfigError: A value is of the wrong kind or out of range.
    """

    kind: ClassVar[type[Quadrotor]] = Quadrotor
    observation_names = OBSERVATION_NAMES
    observation_units = OBSERVATION_UNITS
    action_names = ACTION_NAMES
    action_units = ACTION_UNITS
    conventions = CONVENTIONS

    def __init__(
        self,
        xml_file: str = XML_FILE,
        frame_skip: int = 5,
        default_camera_config: dict[str, Any] | None = DEFAULT_CAMERA_CONFIG,
        *,
        camera_id: int | None = None,
        camera_name: str | None = "track",
        task: str = "hover",
        domain_randomisation: bool = False,
        reset_noise_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        settings = {
            "xml_file": xml_file,
            "frame_skip": frame_skip,
            "task": task,
            "domain_randomisation": domain_randomisation,
            "reset_noise_scale": reset_noise_scale,
        }
        camera = {"camera_id": camera_id, "camera_name": camera_name}
        EzPickle.__init__(self, default_camera_config=default_camera_config, **camera, **settings, **kwargs)
        checked = {**settings, **{name: value for name, value in kwargs.items() if name != "render_mode"}}
        robot = split_arguments(QUADROTOR, self.kind, checked)[0]
        super().__init__(robot, default_camera_config=default_camera_config, **camera, **kwargs)  # type: ignore[arg-type]
