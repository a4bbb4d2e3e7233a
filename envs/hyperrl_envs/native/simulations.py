"""Simulations of one task that are stepped together: what both vector interfaces stand on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.errors import ConfigError
from hyperrl_envs.native.env import NativeEnv
from hyperrl_envs.native.episodes import Episodes
from hyperrl_envs.native.model import check_alike
from hyperrl_envs.native.rendering import RenderSettings, prepare_model
from hyperrl_envs.native.stepping import Stepper, checked_threads
from hyperrl_envs.native.task import Array, Batch, Outcome, Task, first_row


class Simulations(Episodes):
    """Several environments of one task, each with a `mujoco.MjData` of its own.

    Args:
        task: The task.
        models: One `mujoco.MjModel` for each environment; several may be the same object.
        spec: The `gymnasium.envs.registration.EnvSpec` that the environments show.
        rendering: How they are drawn.
        max_episode_steps: Steps after which an episode is truncated, None for no limit.
        threads: How many threads step, never more than environments.
        make_env: Builds each environment from these simulations, its number and its model.

    Attributes:
        envs: The environments one by one.
        action_space: Of one environment, as Gymnasium's.
        observation_space: Of one environment, float64 as Gymnasium's.

    Raises:
        ConfigError: There are more threads than processors, a model lacks what the task reads, or
            environments share a model that episodes change.
        ShapeError: The models are of different structure.
    """

    def __init__(
        self,
        task: Task,
        models: Sequence[Any],
        *,
        spec: Any,
        rendering: RenderSettings,
        max_episode_steps: int | None,
        threads: int = 1,
        make_env: Callable[[Simulations, int, Any], NativeEnv] = NativeEnv,
    ) -> None:
        threads = checked_threads(threads)
        check_alike(models)
        if task.redrawn and len({id(model) for model in models}) < len(models):
            raise ConfigError("episodes change the model: give each environment a model of its own")
        for model in models:
            prepare_model(model, rendering)
        self.task, self.spec, self.rendering = task, spec, rendering
        low, high = models[0].actuator_ctrlrange.astype(np.float32).T
        super().__init__(len(models), spaces.Box(low, high, dtype=np.float32), max_episode_steps)
        self.envs: list[NativeEnv] = [make_env(self, index, model) for index, model in enumerate(models)]
        self._views = [task.views(env.model, env.data) for env in self.envs]
        # For each array of the batch one view of each simulation, and the shape of a row.
        self._columns = [
            (name, [views[name] for views in self._views], (len(models), *view.shape))
            for name, view in self._views[0].items()
        ]
        self._fix()
        self.refresh()
        self._give_observation_space(task.observation(self._batch).shape[1])
        measured = type(task).measure is not Task.measure
        self._stepper = Stepper(
            [(env.model, env.data) for env in self.envs],
            task.frame_skip,
            threads,
            task.measure if measured else None,
        )

    def refresh(self) -> None:
        """Read the simulations again, after a change of them."""
        batch: dict[str, Array] = dict(self._fixed)
        for name, views, shape in self._columns:
            batch[name] = np.concatenate(views).reshape(shape)
        if self.task.timed:
            batch["time"] = np.array([env.data.time for env in self.envs])
        self._batch: Batch = batch

    def close(self) -> None:
        """End the threads and free what pictures needed."""
        self._stepper.close()
        super().close()

    def _advance(self, actions: NDArray[Any]) -> tuple[Array, Outcome]:
        before = self._batch
        self._stepper.step(actions)
        self.refresh()
        return self.task.observation(self._batch), self._judge(before, self._batch, actions)

    def _judge(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Judge one step of all environments."""
        return self.task.outcome(before, after, actions)

    def _begin(self, index: int, seed: int | None) -> tuple[Array, dict[str, Any]]:
        env = self.envs[index]
        if seed is not None:
            env.seed(seed)
        env.begin()
        is_as_before = self._fixed["dt"][index] == env.dt
        if not (is_as_before and np.array_equal(self._fixed["qpos0"][index], env.init_qpos)):
            self._fix()
        self.set_episode(index, (True, 0, 0.0))
        row = {**self._rows[index], "time": np.array([env.data.time])}
        return self.task.observation(row)[0], first_row(self.task.reset_terms(row))

    def _fix(self) -> None:
        """Note what stays from step to step; batches that were handed out keep what they have."""
        self._fixed = {
            "qpos0": np.stack([env.init_qpos for env in self.envs]),
            "qvel0": np.stack([env.init_qvel for env in self.envs]),
            "dt": np.array([env.dt for env in self.envs]),
        }
        # Batches of one environment that follow its simulation.
        self._rows: list[Batch] = [
            {name: values[index : index + 1] for name, values in self._fixed.items()}
            | {name: view[None] for name, view in views.items()}
            for index, views in enumerate(self._views)
        ]

    def _give_observation_space(self, size: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        for env in self.envs:
            env.observation_space = self.observation_space
