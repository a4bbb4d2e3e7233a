"""The quadrotor as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from hyperrl.errors import unknown_name
from hyperrl_envs.native.arguments import split_arguments
from hyperrl_envs.native.task import Array, Batch
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


class QuadrotorEnv(MujocoEnv, EzPickle):
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

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012
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
        self.task = cast(Quadrotor, split_arguments(QUADROTOR, Quadrotor, checked)[0])
        mode = kwargs.get("render_mode")
        if mode is not None and mode not in self.metadata["render_modes"]:
            raise unknown_name("render_mode", str(mode), self.metadata["render_modes"])
        self.redrawn_parameters = self.task.redrawn
        super().__init__(
            xml_file,
            frame_skip,
            spaces.Box(-np.inf, np.inf, (len(OBSERVATION_NAMES),), np.float64),
            default_camera_config=default_camera_config,
            camera_id=camera_id,
            camera_name=camera_name if camera_id is None else None,
            **kwargs,
        )
        self._published = {name: getattr(self.model, name).copy() for name in self.redrawn_parameters}
        self._views = self.task.views(self.model, self.data)
        self.metadata = {**self.metadata, "render_fps": round(1 / self.dt)}

    def step(  # type: ignore[override]  # Numbers are Python's, as the native environments give them.
        self, action: NDArray[np.float32]
    ) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Fly one step, see `gymnasium.Env.step`.

        Args:
            action: Thrusts of M1 to M4 in [-1, 1], shape [4].
        """
        before = self._batch()
        self.do_simulation(action, self.frame_skip)
        after = self._batch()
        rewards, terminated, terms = self.task.outcome(before, after, np.asarray(action)[None])
        if self.render_mode == "human":
            self.render()
        info = {name: values[0].item() for name, values in terms.items()}
        return self.task.observation(after)[0], float(rewards[0]), bool(terminated[0]), False, info

    def reset_model(self) -> Array:
        """Begin an episode, see `gymnasium.envs.mujoco.MujocoEnv.reset_model`."""
        self.task.prepare(self.np_random, self.model, self.data, self._published)
        start = self.task.draw(self.np_random, self.init_qpos, self.init_qvel)
        self.set_state(*start)  # type: ignore[no-untyped-call]
        observation: Array = self.task.observation(self._batch())[0]
        return observation

    def render(self) -> Any:
        """Draw the robot and the setpoint, see `gymnasium.Env.render`."""
        self.task.show(self.model, self.data)
        return super().render()  # type: ignore[no-untyped-call]

    def snapshot_state(self) -> dict[str, Any]:
        """Return what the simulation and the generator do not hold: the robot of this episode."""
        robot = {name: getattr(self.model, name).copy() for name in self.redrawn_parameters}
        return {"robot": robot, "np_random_seed": self._np_random_seed}

    def restore_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Go back to what `snapshot_state` returned."""
        for name, values in snapshot["robot"].items():
            getattr(self.model, name)[...] = values
        self._np_random_seed = snapshot["np_random_seed"]

    def _batch(self) -> Batch:
        batch = {name: view[None].copy() for name, view in self._views.items()}
        return {**batch, "time": np.array([self.data.time])}
