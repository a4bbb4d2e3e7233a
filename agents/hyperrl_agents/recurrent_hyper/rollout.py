"""A rollout as sequences, and minibatches of whole sequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from hyperrl.sb3 import ppo_losses
from hyperrl_agents.recurrent_hyper.segments import Segments


class Minibatch(NamedTuple):
    """E sequences of T steps; columns are of their T * E steps, in the order of time.

    Attributes:
        features: ``[T, E, F]``.
        hidden: What was remembered before the first step, ``[E, H]``.
        latents: Where the policy's loss does not reach the memory, ``[T, E, 2 z]``; otherwise None.
        segments: The sequences cut where trials begin.
        actions: ``[T * E, A]``.
        values: ``[T * E]``, as all that follows.
        log_probs: Of the rollout.
        advantages: As they count in the loss.
        returns: The targets of values.
    """

    features: Tensor
    hidden: Tensor
    latents: Tensor | None
    segments: Segments
    actions: Tensor
    values: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


class Rollout(NamedTuple):
    """All N sequences of a rollout.

    Attributes:
        features: ``[T, N, F]``.
        starts: Whether a trial begins at a step, ``[T, N]``.
        hidden: What was remembered before the first step, ``[N, H]``.
        latents: See `Minibatch`.
        actions: ``[T, N, A]``.
        columns: Values, log probabilities, advantages and returns, ``[4, T, N]``.
    """

    features: Tensor
    starts: NDArray[np.bool_]
    hidden: Tensor
    latents: Tensor | None
    actions: Tensor
    columns: Tensor

    @classmethod
    def of(
        cls,
        buffer: RolloutBuffer,
        starts: NDArray[np.bool_],
        hidden: Tensor,
        latents: Tensor | None,
        normalise: bool,
    ) -> Rollout:
        """Take over a full buffer.

        Args:
            buffer: The buffer.
            starts: Whether a trial begins at a step.
            hidden: What was remembered before the first step.
            latents: See `Minibatch`.
            normalise: Whether the advantages of the whole rollout get mean 0 and standard deviation 1.
        """
        device = hidden.device
        arrays = [buffer.values, buffer.log_probs, buffer.advantages, buffer.returns]
        columns = torch.from_numpy(np.stack(arrays)).to(device)
        if normalise:
            columns[2] = ppo_losses.normalised_advantages(columns[2].flatten()).view_as(columns[2])
        features = torch.from_numpy(buffer.observations).to(device)
        actions = torch.from_numpy(buffer.actions).to(device)
        return cls(features, starts, hidden, latents, actions, columns)

    def minibatches(self, size: int) -> Iterator[Minibatch]:
        """Go through all sequences once, in an order that is drawn.

        Args:
            size: Sequences of a minibatch; the last one may have fewer.
        """
        order = np.random.permutation(self.features.shape[1])
        for begin in range(0, len(order), size):
            chosen = order[begin : begin + size]
            index = torch.from_numpy(chosen).to(self.features.device)
            latents = None if self.latents is None else self.latents.index_select(1, index)
            yield Minibatch(
                self.features.index_select(1, index),
                self.hidden.index_select(0, index),
                latents,
                Segments.of(self.starts[:, chosen], self.features.device),
                self.actions.index_select(1, index).flatten(0, 1),
                *self.columns.index_select(2, index).flatten(1).unbind(0),
            )
