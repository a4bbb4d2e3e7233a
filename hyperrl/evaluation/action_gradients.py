"""Two ways to the gradient of a return with respect to the action, and how they are compared.

One is the derivative of a critic, the other the least-squares slope of a sample of returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from hyperrl.errors import HyperRLError, NonFiniteError, ShapeError

Array = NDArray[np.float64]
Observation = NDArray[Any] | dict[str, NDArray[Any]]


class UnsupportedModelError(HyperRLError, TypeError):
    """A model has no critic Q(s, a) of the kind that TD3 and SAC have."""


def least_squares_gradient(actions: ArrayLike, returns: ArrayLike) -> Array:
    """Estimate the gradient of a return from a sample, by least squares over all pairwise differences.

    Minimises the sum over all pairs of ((R_i - R_j) - g·(a_i - a_j))². That sum is 2n times the residual of
    the centred sample, so it is solved as such: the result is the slope of ordinary least squares with an
    intercept.

    Args:
        actions: Sample of actions [n, A].
        returns: Return of each action [n].

    Returns:
        The gradient g [A]; of smallest norm where the actions do not determine it.

    Raises:
        ShapeError: The shapes are not [n, A] and [n] with n at least 2.
        NonFiniteError: A value is NaN or infinite.
    """
    a, r = np.asarray(actions, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if a.ndim != 2 or r.shape != (a.shape[0],) or a.shape[0] < 2:
        raise ShapeError(
            f"actions and returns must have the shapes [n, A] and [n] with n >= 2, "
            f"got {a.shape} and {r.shape}"
        )
    for name, values in (("actions", a), ("returns", r)):
        if not np.isfinite(values).all():
            raise NonFiniteError(f"the {name} of a gradient estimate must be finite, got {values!r}")
    solution: Array = np.linalg.lstsq(a - a.mean(axis=0), r - r.mean(), rcond=None)[0]
    return solution


def cosine_similarity(left: ArrayLike, right: ArrayLike) -> float:
    """Return the cosine of the angle between two vectors, or NaN where one of them is zero.

    Args:
        left: A vector [A].
        right: A vector [A].

    Raises:
        ShapeError: They are not vectors of the same length.
    """
    u, v = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if u.ndim != 1 or u.shape != v.shape:
        raise ShapeError(f"two vectors of one length have a cosine, got the shapes {u.shape} and {v.shape}")
    # Dividing by the largest entry first keeps the squares of tiny and huge gradients from vanishing or
    # overflowing.
    scales = np.abs(u).max(initial=0.0), np.abs(v).max(initial=0.0)
    if not all(scales):
        return float("nan")
    u, v = u / scales[0], v / scales[1]
    return float(np.clip(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)), -1.0, 1.0))


def critic_action_gradient(model: BaseAlgorithm, observations: Observation, actions: ArrayLike) -> Array:
    """Return the gradient of the first Q-function with respect to the action.

    Args:
        model: A model with a critic Q(s, a), such as TD3 or SAC.
        observations: A batch as the policy takes it [n, ...], images in either channel order; where the agent
            uses `VecNormalize`, already normalised.
        actions: Actions in the critic's units [n, A].

    Returns:
        The gradient at each pair [n, A], in the critic's units.

    Raises:
        UnsupportedModelError: The model has no such critic.
        NonFiniteError: The gradient is NaN or infinite.
    """
    critic = critic_of(model, "critic")
    training = model.policy.training
    model.policy.set_training_mode(False)
    try:
        obs_tensor, _ = model.policy.obs_to_tensor(observations)
        action_tensor = th.as_tensor(
            np.asarray(actions, dtype=np.float32), device=model.device
        ).requires_grad_()
        with th.enable_grad():
            first = getattr(critic, "q1_forward", None)
            values = first(obs_tensor, action_tensor) if first else critic(obs_tensor, action_tensor)[0]
            _check_values(model, values, action_tensor.shape[0])
            # Each row depends on its own action only, so the gradient of the sum holds every row's gradient.
            (gradient,) = th.autograd.grad(values.sum(), action_tensor)
    finally:
        model.policy.set_training_mode(training)
    if not bool(th.isfinite(gradient).all()):
        raise NonFiniteError(f"the action gradient of {type(model).__name__}'s critic is not finite")
    result: Array = gradient.cpu().numpy().astype(np.float64)
    return result


def critic_of(model: BaseAlgorithm, name: str) -> Callable[..., Any]:
    """Return a critic of continuous actions by the name of its attribute.

    Args:
        model: A model of Stable-Baselines3 or hyperrl.
        name: "critic" or "critic_target".

    Raises:
        UnsupportedModelError: The model has no such attribute, or its actions are not continuous.
    """
    critic = getattr(model, name, None)
    if not isinstance(critic, th.nn.Module) or not isinstance(model.action_space, gym.spaces.Box):
        raise UnsupportedModelError(
            "gradient quality needs a critic Q(s, a) of continuous actions and its target, as TD3 and SAC "
            f"have them; {type(model).__name__} has none"
        )
    return critic


def _check_values(model: BaseAlgorithm, values: Any, count: int) -> None:
    if not isinstance(values, th.Tensor) or tuple(values.shape) != (count, 1):
        raise UnsupportedModelError(
            "gradient quality needs a critic with one Q-value per state and action, as TD3 and SAC have it; "
            f"that of {type(model).__name__} gives something else"
        )
