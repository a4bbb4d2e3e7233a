"""What states and actions are worth, where no critic says it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ShapeError


def discounted_returns(rewards: ArrayLike, gamma: float, last_value: float = 0.0) -> NDArray[np.float64]:
    """Return what follows each step of one episode, discounted.

    Args:
        rewards: The episode's rewards in order, shape [n].
        gamma: Discount.
        last_value: What the state after the last step is worth: 0 where the episode terminated, an estimate
            where its time limit ended it.

    Returns:
        Shape [n]: ``G_t = r_t + gamma G_{t+1}`` with ``G_n = last_value``.

    Raises:
        ShapeError: The rewards are no vector.
    """
    given = np.asarray(rewards, np.float64)
    if given.ndim != 1:
        raise ShapeError(f"the rewards of an episode must have one dimension, got shape {given.shape}")
    returns = np.empty_like(given)
    following = float(last_value)
    for step in range(len(given) - 1, -1, -1):
        following = given[step] + gamma * following
        returns[step] = following
    return returns
