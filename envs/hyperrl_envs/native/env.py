"""One environment among those that are stepped together, as `get_attr` and `env_method` see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from hyperrl.errors import HyperRLError, ShapeError
from hyperrl_envs.native.rendering import make_renderer
from hyperrl_envs.native.task import Array

if TYPE_CHECKING:
    from hyperrl_envs.native.simulations import Simulations


class CallOrderError(HyperRLError, gym.error.ResetNeeded):
    """A call came before the one that it needs, for example `step` before `reset`."""


class NativeEnv(gym.Env[NDArray[np.float64], NDArray[np.float32]]):
    """One of several environments: its simulation, its generator, its picture.

    It has what Gymnasium's `MujocoEnv` shows to its users, and cannot be stepped by itself.

    Args:
        owner: The simulations that it is one of.
        index: Its number among them.
        model: The `mujoco.MjModel`, which it may share with the others.

    Attributes:
        model: The `mujoco.MjModel`. After a change of it between episodes the next reset reads what it needs.
        data: The `mujoco.MjData`, which holds what that of Gymnasium's environment does. After a change by
            hand call `refresh`.
        index: Its number.
        frame_skip: Simulation steps of one step.
        redrawn_parameters: The model's arrays that episodes change; they are part of the state.
    """

    def __init__(self, owner: Simulations, index: int, model: Any) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        self.index = index
        self.frame_skip = owner.task.frame_skip
        self.spec = owner.spec
        self.render_mode = owner.rendering.render_mode
        self.action_space = owner.action_space
        self.observation_space = owner.observation_space
        self.init_qpos: Array = self.data.qpos.copy()
        self.init_qvel: Array = self.data.qvel.copy()
        self.redrawn_parameters = owner.task.redrawn
        self._owner = owner
        self._published = self._robot()
        self._renderer: Any = None
        # Views that follow the simulation; asking MuJoCo for them takes longer than using them.
        self._qpos: Array = self.data.qpos
        self._qvel: Array = self.data.qvel
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / self.dt)}

    @property
    def dt(self) -> float:
        """Seconds of one step."""
        return float(self.model.opt.timestep * self.frame_skip)

    def seed(self, seed: int) -> None:
        """Let the environment draw from a new generator, as `reset` with this seed does."""
        self._np_random, self._np_random_seed = seeding.np_random(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin a new episode of this environment alone.

        Args:
            seed: Seeds the generator; None lets it go on.
            options: Without effect, as for Gymnasium's tasks.

        Returns:
            The observation, and what Gymnasium's `info` holds after a reset.
        """
        observations, infos = self._owner.reset([seed], [self.index])
        return observations[0], infos[0]

    def step(self, action: NDArray[np.float32]) -> NoReturn:
        """Refuse to step one environment alone.

        Raises:
            CallOrderError: Always.
        """
        raise CallOrderError("environments that are stepped together cannot be stepped one by one")

    def set_state(self, qpos: Array, qvel: Array) -> None:
        """Put the simulation into another position, as Gymnasium's method of this name.

        Args:
            qpos: Positions, shape [nq].
            qvel: Velocities, shape [nv].

        Raises:
            ShapeError: The shapes are others.
        """
        if np.shape(qpos) != (self.model.nq,) or np.shape(qvel) != (self.model.nv,):
            raise ShapeError(
                f"set_state needs {self.model.nq} positions and {self.model.nv} velocities, got shapes "
                f"{np.shape(qpos)} and {np.shape(qvel)}"
            )
        self.place(qpos, qvel)
        self._owner.refresh()

    def place(self, qpos: Array, qvel: Array) -> None:
        """Set positions [nq] and velocities [nv] and compute what follows, without a word to the others."""
        self._qpos[:] = qpos
        self._qvel[:] = qvel
        mujoco.mj_forward(self.model, self.data)
        self._owner.task.measure(self.model, self.data)

    def begin(self) -> None:
        """Put the simulation at the start of a new episode, without a word to the others."""
        mujoco.mj_resetData(self.model, self.data)
        task = self._owner.task
        task.prepare(self.np_random, self.model, self.data, self._published)
        self.place(*task.draw(self.np_random, self.init_qpos, self.init_qvel))

    def refresh(self) -> None:
        """Let the next step begin from what is in `data` now."""
        self._owner.refresh()

    def state_vector(self) -> Array:
        """Return positions and velocities, shape [nq + nv]."""
        return np.concatenate([self.data.qpos, self.data.qvel])

    def render(self) -> Any:
        """Return a picture, uint8 of shape [height, width, 3], or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = make_renderer(self.model, self.data, self.spec, self._owner.rendering)
        self._owner.task.show(self.model, self.data)
        return self._renderer.render(self.render_mode)

    def close(self) -> None:
        """Free what pictures needed."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def snapshot_state(self) -> dict[str, Any]:
        """Return what is remembered from step to step beside the simulation and the generator's state."""
        episode = self._owner.episode(self.index)
        return {"episode": episode, "np_random_seed": self._np_random_seed, "robot": self._robot()}

    def restore_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Go back to what `snapshot_state` returned."""
        self._owner.set_episode(self.index, snapshot["episode"])
        self._np_random_seed = snapshot["np_random_seed"]
        # States of earlier versions have none.
        for name, values in snapshot.get("robot", {}).items():
            getattr(self.model, name)[...] = values

    def _robot(self) -> dict[str, Array]:
        """Return the model's arrays that the task draws anew in each episode, by name."""
        return {name: getattr(self.model, name).copy() for name in self._owner.task.redrawn}
