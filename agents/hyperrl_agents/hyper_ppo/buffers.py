"""A rollout buffer that knows which architecture made each transition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from hyperrl.errors import MixedTransitionsError

_ARRAYS = ("observations", "actions", "values", "log_probs", "advantages", "returns", "architectures")


class ArchitectureSamples(NamedTuple):
    """A minibatch: as many transitions of each architecture, those of the first architecture first.

    The fields are those of Stable-Baselines3's `RolloutBufferSamples`, and ``architectures``, the numbers of
    the architectures ``[M * B]``. Advantages are as they were computed, not normalised.
    """

    observations: Tensor
    actions: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor
    architectures: Tensor


class ArchitectureRolloutBuffer(RolloutBuffer):
    """Rollouts in which equal blocks of neighbouring environments are flown by one architecture each.

    Takes the arguments of `RolloutBuffer`.

    Attributes:
        architectures: The number of the architecture that made each transition, ``[n_steps, n_envs]``, and
            after the first minibatch ``[n_steps * n_envs, 1]`` as Stable-Baselines3 does it; -1 where none
            did.
    """

    architectures: NDArray[np.int64]

    def reset(self) -> None:
        """Forget the rollout."""
        super().reset()
        self.architectures = np.full((self.buffer_size, self.n_envs), -1, np.int64)

    def assign(self, numbers: NDArray[np.int64]) -> None:
        """Note which architecture acts in which environment until the rollout is full.

        Args:
            numbers: Of each environment, ``[n_envs]``.
        """
        self.architectures[:] = numbers

    def normalise_advantages(self, count: int) -> None:
        """Give the advantages of each architecture mean 0 and standard deviation 1.

        Together, those that fail would set the scale for those that do well.

        Args:
            count: Number of architectures.
        """
        blocks = self.advantages.reshape(self.buffer_size, count, -1)
        mean = blocks.mean((0, 2), keepdims=True)
        spread = blocks.std((0, 2), keepdims=True, ddof=1) if blocks[:, 0].size > 1 else 1.0
        self.advantages = ((blocks - mean) / (spread + 1e-8)).reshape(self.advantages.shape)

    def stratified(self, numbers: NDArray[np.int64], batch_size: int) -> Iterator[ArchitectureSamples]:
        """Go through the rollout once in minibatches with as many transitions of each architecture.

        Args:
            numbers: The architectures of the rollout in the order of their environments, ``[M]``.
            batch_size: Transitions of a minibatch, a multiple of M; the last one may have fewer.

        Raises:
            MixedTransitionsError: A transition is not of the architecture whose environment it is of.
        """
        assert self.full
        if not self.generator_ready:
            for name in _ARRAYS:
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
            self.generator_ready = True
        count, size = len(numbers), self.buffer_size * self.n_envs // len(numbers)
        order = np.stack([np.random.permutation(size) for _ in range(count)])
        order += size * np.arange(count)[:, None]
        each = batch_size // count
        for start in range(0, size, each):
            rows = order[:, start : start + each]
            there = self.architectures[rows, 0]
            if (there != numbers[:, None]).any():
                place = int(np.argmax((there != numbers[:, None]).any(1)))
                raise MixedTransitionsError(
                    f"transitions of architecture {int(numbers[place])} are mixed with those of another: the "
                    f"environments must keep their order from the rollout to the update"
                )
            yield self._samples(rows.ravel())

    def _samples(self, rows: NDArray[np.int64]) -> ArchitectureSamples:
        data: tuple[NDArray[Any], ...] = (
            self.observations[rows],
            self.actions[rows].astype(np.float32, copy=False),
            self.values[rows].ravel(),
            self.log_probs[rows].ravel(),
            self.advantages[rows].ravel(),
            self.returns[rows].ravel(),
            self.architectures[rows].ravel(),
        )
        return ArchitectureSamples(*map(self.to_torch, data))
