"""Acting in T tasks at once, each by its own weights, and the batches that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperrl.errors import NonFiniteError
from hyperrl.nets import Generated
from hyperrl.sb3.finite import first_non_finite, place
from hyperrl.sb3.meta.episodes import Episodes
from hyperrl_agents.hyper_maml.actor import TaskActor, TaskWeights
from hyperrl_agents.hyper_maml.batches import TaskBatch


class TaskActing:
    """Draws actions of the policies of T tasks, of which each has E jobs, one after the other.

    Args:
        actor: The policies.
        tasks: Their weights.
        jobs_per_task: E.
        states: Numbers of a state; the context is behind it in features.
    """

    def __init__(self, actor: TaskActor, tasks: TaskWeights, jobs_per_task: int, states: int) -> None:
        self._actor, self._tasks = actor, tasks
        self._each, self._states = jobs_per_task, states
        self._generated = Generated.from_flat(actor.network.spec, tasks.weights)
        self._noise = tasks.log_std.exp()
        self._chosen: tuple[bytes, torch.Tensor, Generated] | None = None

    @torch.no_grad()
    def __call__(self, features: NDArray[np.float32], jobs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return actions ``[lanes, A]``, see `hyperrl.sb3.meta.episodes.Act`.

        Raises:
            NonFiniteError: An environment gave an observation that is not finite.
        """
        index = first_non_finite(features)
        if index is not None:
            raise NonFiniteError(
                f"environment {index[0]} gave an observation of {features[index]} ({place(index[1:])})"
            )
        ids, rows = self._of(jobs)
        states = torch.as_tensor(features[:, : self._states], device=ids.device).unsqueeze(1)
        mean = self._actor.mean(rows, self._tasks.conditions[ids], states).squeeze(1)
        actions: NDArray[np.float32] = (mean + self._noise[ids] * torch.randn_like(mean)).cpu().numpy()
        return actions

    def _of(self, jobs: NDArray[np.int64]) -> tuple[torch.Tensor, Generated]:
        """Return the task of each lane, and its weights, which are picked when a task changes."""
        tasks = np.maximum(jobs, 0) // self._each
        key = tasks.tobytes()
        if self._chosen is None or self._chosen[0] != key:
            ids = torch.as_tensor(tasks, device=self._tasks.weights.device)
            self._chosen = key, ids, self._generated.index(ids)
        return self._chosen[1], self._chosen[2]


def batch_of(episodes: Episodes, tasks: int, states: int, **settings: Any) -> TaskBatch:
    """Return episodes as a batch.

    Args:
        episodes: The same number of each task, one task after the other.
        tasks: How many tasks T.
        states: Numbers of a state.
        settings: Those of `TaskBatch.of`.
    """

    def by_task(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(tasks, -1, *array.shape[1:])

    return TaskBatch.of(
        by_task(episodes.features[..., :states]),
        by_task(episodes.actions),
        by_task(episodes.rewards),
        by_task(episodes.mask),
        **settings,
    )
