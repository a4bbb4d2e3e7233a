"""Episodes of T tasks as the losses take them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperrl_agents.hyper_maml import losses


class TaskBatch(NamedTuple):
    """Steps of T tasks, each padded to B.

    Attributes:
        states: Observations without the context, ``[T, B, S]``.
        actions: As the policy gave them, ``[T, B, A]``.
        advantages: Normalised in each task, ``[T, B]``.
        mask: Which entries are steps, ``[T, B]``.
    """

    states: Tensor
    actions: Tensor
    advantages: Tensor
    mask: Tensor

    def tasks(self, which: slice) -> TaskBatch:
        """Return the steps of some of the tasks."""
        return TaskBatch(*(part[which] for part in self))

    @classmethod
    def of(
        cls,
        states: NDArray[Any],
        actions: NDArray[Any],
        rewards: NDArray[Any],
        mask: NDArray[np.bool_],
        *,
        gamma: float,
        gae_lambda: float,
        device: torch.device,
    ) -> TaskBatch:
        """Build it from E episodes of each task, padded to L steps.

        Args:
            states: ``[T, E, L, S]``.
            actions: ``[T, E, L, A]``.
            rewards: ``[T, E, L]``, 0 behind the end.
            mask: ``[T, E, L]``.
            gamma: Discount.
            gae_lambda: As in generalised advantage estimation.
            device: Where the tensors go.
        """
        sent = [torch.as_tensor(part, device=device) for part in (states, actions, rewards, mask)]
        all_states, all_actions, all_rewards, steps = sent
        returns = losses.discounted_returns(all_rewards, gamma)
        values = losses.baseline_values(all_states, returns, steps)
        advantages = losses.generalised_advantages(all_rewards, values, gamma, gae_lambda)
        flat = steps.flatten(1)
        return cls(
            all_states.flatten(1, 2),
            all_actions.flatten(1, 2),
            losses.normalised(advantages.flatten(1), flat),
            flat,
        )
