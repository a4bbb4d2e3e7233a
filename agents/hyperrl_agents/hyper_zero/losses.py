"""The three terms of HyperZero's objective (Rezaei-Shoshtari et al., AAAI 2023, section 4), each a mean."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def action_loss(predicted: Tensor, actions: Tensor) -> Tensor:
    """Squared error of actions, all ``[..., a]``."""
    return functional.mse_loss(predicted, actions)


def value_loss(predicted: Tensor, values: Tensor) -> Tensor:
    """Squared error of values, all ``[...]``."""
    return functional.mse_loss(predicted, values)


def td_loss(
    values: Tensor, rewards: Tensor, terminated: Tensor, next_predicted: Tensor, gamma: float
) -> Tensor:
    """Squared difference of the label and the bootstrapped value, of which the latter is trained.

    That is the other way round than usual: the label is fixed, and what is pulled is the value of the next
    state. The published code has no discount here, though its labels were learned with 0.99; that is
    corrected.

    Args:
        values: Labels of the states and actions, ``[...]``.
        rewards: ``[...]``.
        terminated: 1 where the episode ended by itself, ``[...]``.
        next_predicted: Predicted values of the next states and the policy's actions there, which must be cut
            off from the policy, ``[...]``.
        gamma: Discount.
    """
    return functional.mse_loss(rewards + gamma * (1 - terminated) * next_predicted, values)
