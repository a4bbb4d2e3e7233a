"""Batches of solved tasks: a few tasks, and the same number of transitions of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperrl.errors import ConfigError
from hyperrl.zero_shot_data.transitions import Transitions, joined

_NOISE_CLIP = 0.02


@dataclass(frozen=True)
class TaskBatch:
    """Transitions of G tasks, n of each.

    Attributes:
        contexts: As the policy sees them, ``[G, d]``.
        states: ``[G, n, s]``.
        actions: In [-1, 1], ``[G, n, a]``.
        rewards: ``[G, n]``.
        next_states: ``[G, n, s]``.
        terminated: ``[G, n]``.
        values: Labels, ``[G, n]``.
    """

    contexts: Tensor
    states: Tensor
    actions: Tensor
    rewards: Tensor
    next_states: Tensor
    terminated: Tensor
    values: Tensor

    def per_row(self) -> TaskBatch:
        """Return the same rows as ``G n`` tasks of one row each."""
        rows = self.rewards.shape[1]
        parts = {name: getattr(self, name).flatten(0, 1).unsqueeze(1) for name in _BY_ROW}
        return TaskBatch(contexts=self.contexts.repeat_interleave(rows, dim=0), **parts)


_BY_ROW = ("states", "actions", "rewards", "next_states", "terminated", "values")


class TaskBatches:
    """Draws batches: tasks without replacement, rows of a task with.

    Args:
        contexts: What the policy sees of each task, shape [T, d].
        tasks: The transitions of each task.
        tasks_per_batch: G; at most T.
        rows_per_task: n.
        noise: Standard deviation of Gaussian noise on the contexts, clipped at 0.02.
        device: Where the transitions lie.

    Raises:
        ConfigError: There are fewer tasks than a batch has.
    """

    def __init__(
        self,
        contexts: NDArray[np.float32],
        tasks: Sequence[Transitions],
        tasks_per_batch: int,
        rows_per_task: int,
        *,
        noise: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(tasks) < tasks_per_batch:
            raise ConfigError(
                f"the data set has {len(tasks)} tasks of training, fewer than the {tasks_per_batch} of a "
                f"batch: set tasks_per_batch to {len(tasks)} or less"
            )
        together = joined(tasks)
        self._counts = np.array([len(task) for task in tasks])
        self._starts = np.concatenate([[0], np.cumsum(self._counts)[:-1]])
        self._contexts = torch.as_tensor(contexts, dtype=torch.float32, device=device)
        self._parts = {name: torch.from_numpy(getattr(together, name)).to(device) for name in _BY_ROW}
        self._groups, self._rows, self._noise = tasks_per_batch, rows_per_task, noise
        self.largest_reward = float(np.abs(together.rewards).max())

    def draw(self, rng: np.random.Generator) -> TaskBatch:
        """Draw one batch.

        Args:
            rng: What draws.
        """
        chosen = rng.permutation(len(self._counts))[: self._groups]
        rows = (rng.random((self._groups, self._rows)) * self._counts[chosen, None]).astype(np.int64)
        device = self._contexts.device
        index = torch.from_numpy(rows + self._starts[chosen, None]).to(device)
        contexts = self._contexts[torch.from_numpy(chosen).to(device)]
        if self._noise:
            drawn = rng.normal(0.0, self._noise, tuple(contexts.shape)).clip(-_NOISE_CLIP, _NOISE_CLIP)
            contexts = contexts + torch.as_tensor(drawn, dtype=contexts.dtype, device=device)
        parts: Mapping[str, Any] = {name: part[index] for name, part in self._parts.items()}
        return TaskBatch(contexts=contexts, **parts)
