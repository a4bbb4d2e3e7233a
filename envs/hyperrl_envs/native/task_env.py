"""A Gymnasium environment around one of our own tasks, for those that Gymnasium itself does not have."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from hyperrl.errors import unknown_name
from hyperrl_envs.native.rendering import RenderSettings, prepare_model
from hyperrl_envs.native.task import Array, Batch, Task, first_row


class TaskEnv(MujocoEnv, EzPickle):
    """One environment of a task that can also be stepped natively.

    Args:
        task: The task.
        default_camera_config: Settings of the free camera, which "human" begins with.
        camera_id: Number of the model's camera, instead of its name.
        camera_name: Name of the model's camera for pictures.
        **kwargs: Of `gymnasium.envs.mujoco.MujocoEnv`: `render_mode` and what else concerns pictures.

    Attributes:
        task: The task with its settings.
        redrawn_parameters: The model's arrays that episodes change; they are part of the state.

    Raises:
        UnknownNameError: There is no such render mode.
        ConfigError: The model cannot be loaded or lacks what the task reads.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(
        self,
        task: Task,
        *,
        default_camera_config: dict[str, Any] | None = None,
        camera_id: int | None = None,
        camera_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.task = task
        mode = kwargs.get("render_mode")
        if mode is not None and mode not in self.metadata["render_modes"]:
            raise unknown_name("render_mode", str(mode), self.metadata["render_modes"])
        self.redrawn_parameters = task.redrawn
        super().__init__(
            task.xml_file,
            task.frame_skip,
            None,
            default_camera_config=default_camera_config,
            camera_id=camera_id,
            camera_name=camera_name if camera_id is None else None,
            **kwargs,
        )
        self._published = self._robot()
        self._views = task.views(self.model, self.data)
        size = task.observation(self._batch()).shape[1]
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self.metadata = {**self.metadata, "render_fps": round(1 / self.dt)}

    def step(  # type: ignore[override]  # Numbers are Python's, as the native environments give them.
        self, action: NDArray[np.float32]
    ) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Advance one step, see `gymnasium.Env.step`.

        Args:
            action: Shape [nu].
        """
        before = self._batch()
        self.do_simulation(action, self.frame_skip)
        self.task.measure(self.model, self.data)
        after = self._batch()
        rewards, terminated, terms = self.task.outcome(before, after, np.asarray(action)[None])
        if self.render_mode == "human":
            self.render()
        observation = self.task.observation(after)[0]
        return observation, float(rewards[0]), bool(terminated[0]), False, first_row(terms)

    def reset_model(self) -> Array:
        """Begin an episode, see `gymnasium.envs.mujoco.MujocoEnv.reset_model`."""
        self.task.prepare(self.np_random, self.model, self.data, self._published)
        self.set_state(*self.task.draw(self.np_random, self.init_qpos, self.init_qvel))
        observation: Array = self.task.observation(self._batch())[0]
        return observation

    def set_state(self, qpos: Array, qvel: Array) -> None:
        """Set positions [nq] and velocities [nv], see `gymnasium.envs.mujoco.MujocoEnv.set_state`."""
        super().set_state(qpos, qvel)  # type: ignore[no-untyped-call]
        self.task.measure(self.model, self.data)

    def render(self) -> Any:
        """Draw the scene and what is not simulated, see `gymnasium.Env.render`."""
        self.task.show(self.model, self.data)
        return super().render()  # type: ignore[no-untyped-call]

    def snapshot_state(self) -> dict[str, Any]:
        """Return what the simulation and the generator do not hold: the robot of this episode."""
        return {"robot": self._robot(), "np_random_seed": self._np_random_seed}

    def restore_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Go back to what `snapshot_state` returned."""
        for name, values in snapshot["robot"].items():
            getattr(self.model, name)[...] = values
        self._np_random_seed = snapshot["np_random_seed"]

    def _initialize_simulation(self) -> tuple[Any, Any]:
        """Load the model as the task says, see `gymnasium.envs.mujoco.MujocoEnv`."""
        model = self.task.load()
        prepare_model(model, RenderSettings(width=self.width, height=self.height))
        return model, mujoco.MjData(model)

    def _get_reset_info(self) -> dict[str, Any]:
        """Return what `info` holds after a reset, see `gymnasium.envs.mujoco.MujocoEnv`."""
        return first_row(self.task.reset_terms(self._batch()))

    def _robot(self) -> dict[str, Array]:
        """Return the model's arrays that the task itself draws anew, by name."""
        return {name: getattr(self.model, name).copy() for name in self.task.redrawn}

    def _batch(self) -> Batch:
        """Return the batch of this one environment, see `Task`."""
        batch = {name: view[None].copy() for name, view in self._views.items()}
        start = {"qpos0": self.init_qpos[None], "qvel0": self.init_qvel[None], "dt": np.array([self.dt])}
        return {**start, **batch, "time": np.array([self.data.time])}
