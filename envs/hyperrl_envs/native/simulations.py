"""Simulations of one task that are stepped together: what both vector interfaces stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.errors import ConfigError, ShapeError
from hyperrl_envs.native.env import CallOrderError, NativeEnv
from hyperrl_envs.native.model import check_alike
from hyperrl_envs.native.rendering import RenderSettings, prepare_model
from hyperrl_envs.native.stepping import Stepper, checked_threads
from hyperrl_envs.native.task import Array, Batch, Outcome, Task
from hyperrl_envs.saved_state import capture_plain, restore_plain


@dataclass(frozen=True)
class Ended:
    """An episode that a step ended.

    Attributes:
        observation: The last one of the episode, shape [observation size].
        episode_return: Sum of its rewards.
        length: Number of its steps.
        reset_info: What Gymnasium's `info` holds after the reset that followed.
    """

    observation: Array
    episode_return: float
    length: int
    reset_info: dict[str, Any]


class Step(NamedTuple):
    """What a step of n environments returns; all arrays are new.

    Attributes:
        observations: Float64 of shape [n, observation size]; of the new episode where one ended.
        rewards: Float64 of shape [n].
        done: Booleans of shape [n]: one of the following.
        terminated: Booleans of shape [n]: the task ended the episode.
        truncated: Booleans of shape [n]: the limit of steps is reached.
        terms: What Gymnasium's `info` holds, by name: arrays of shape [n] or [n, k].
        ended: The episodes that ended, by the environment's number.
    """

    observations: Array
    rewards: Array
    done: NDArray[np.bool_]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    terms: dict[str, NDArray[Any]]
    ended: dict[int, Ended]


class Simulations:
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
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        self._actions_shape = (len(models), *self.action_space.shape)
        # Its size is known when the task has seen a simulation.
        self.observation_space = spaces.Box(-np.inf, np.inf, (0,), np.float64)
        self.envs = [make_env(self, index, model) for index, model in enumerate(models)]
        self._limit = np.iinfo(np.int64).max if max_episode_steps is None else max_episode_steps
        self._lengths = np.zeros(len(models), np.int64)
        self._returns = np.zeros(len(models))
        self._waiting = set(range(len(models)))  # For their first reset.
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

    def reset(
        self, seeds: Sequence[int | None], indices: Sequence[int] | None = None
    ) -> tuple[Array, list[dict[str, Any]]]:
        """Begin new episodes.

        Args:
            seeds: A seed for each environment that is reset; None lets its generator go on.
            indices: Which environments; all by default.

        Returns:
            The observations, shape [len(seeds), observation size], and the infos.
        """
        chosen = range(len(self.envs)) if indices is None else indices
        begun = [self._begin(index, seed) for index, seed in zip(chosen, seeds, strict=True)]
        self.refresh()
        return np.stack([observation for observation, _ in begun]), [info for _, info in begun]

    def check_actions(self, actions: Any) -> NDArray[Any]:
        """Return actions as a contiguous array of shape [n, nu], in their own precision.

        Raises:
            ShapeError: The shape is another.
        """
        array = np.ascontiguousarray(actions)
        if array.shape != self._actions_shape:
            raise ShapeError(f"step needs actions of shape {self._actions_shape}, got {array.shape}")
        return array

    def step(self, actions: NDArray[Any]) -> Step:
        """Step all environments once, and begin a new episode where one ends.

        Args:
            actions: What `check_actions` returned.

        Raises:
            CallOrderError: An environment was never reset.
        """
        if self._waiting:
            raise CallOrderError("step was called before reset: call reset first")
        before = self._batch
        self._stepper.step(actions)
        self.refresh()
        after = self._batch
        observations = self.task.observation(after)
        rewards, terminated, terms = self._judge(before, after, actions)
        self._lengths += 1
        self._returns += rewards
        truncated = self._lengths >= self._limit
        done = terminated | truncated
        ended = {index: self._end(index, observations) for index in done.nonzero()[0].tolist()}
        if ended:
            self.refresh()
        return Step(observations, rewards, done, terminated, truncated, terms, ended)

    def refresh(self) -> None:
        """Read the simulations again, after a change of them."""
        batch: dict[str, Array] = dict(self._fixed)
        for name, views, shape in self._columns:
            batch[name] = np.concatenate(views).reshape(shape)
        if self.task.timed:
            batch["time"] = np.array([env.data.time for env in self.envs])
        self._batch: Batch = batch

    def capture(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the states of environments between two steps, as plain data.

        Args:
            indices: Which environments.

        Raises:
            UnsupportedEnvError: A MuJoCo plugin keeps memory of its own.
        """
        return [capture_plain(self.envs[index]) for index in indices]

    def restore(self, states: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> None:
        """Bring environments to states that `capture` returned, from which they continue bit for bit.

        Args:
            states: One for each of the environments.
            indices: Which environments.

        Raises:
            ConfigError: There are more or fewer states.
            UnsupportedEnvError: A state is of another task, model or MuJoCo.
        """
        if len(states) != len(indices):
            raise ConfigError(
                f"there are {len(states)} states for {len(indices)} environments: give one each"
            )
        for state, index in zip(states, indices, strict=True):
            restore_plain(self.envs[index], state)
        self.refresh()

    def episode(self, index: int) -> list[Any]:
        """Return whether an episode of an environment has begun, its steps and its return so far."""
        return [index not in self._waiting, int(self._lengths[index]), float(self._returns[index])]

    def set_episode(self, index: int, episode: Sequence[Any]) -> None:
        """Go back to what `episode` returned."""
        begun, self._lengths[index], self._returns[index] = episode
        (self._waiting.discard if begun else self._waiting.add)(index)

    def close(self) -> None:
        """End the threads and free what pictures needed."""
        self._stepper.close()
        for env in self.envs:
            env.close()

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
        terms = {name: _own(values[0]) for name, values in self.task.reset_terms(row).items()}
        return self.task.observation(row)[0], terms

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

    def _end(self, index: int, observations: Array) -> Ended:
        last = observations[index].copy()
        _, length, episode_return = self.episode(index)
        observations[index], reset_info = self._begin(index, None)
        return Ended(last, episode_return, length, reset_info)

    def _give_observation_space(self, size: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        for env in self.envs:
            env.observation_space = self.observation_space


def _own(value: Any) -> Any:
    """Return a term of one environment: a number, or an array that nobody else changes."""
    return value.copy() if value.ndim else value.item()
