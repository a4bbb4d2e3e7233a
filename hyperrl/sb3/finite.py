"""Policies that refuse NaN and infinity, in what they are asked and in what they would answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import maybe_transpose
from torch import nn

from hyperrl.errors import ConfigError, NonFiniteError, ShapeError, unknown_name

_NUMBERS = "biuf"  # Kinds of NumPy dtypes: truth values, whole numbers, floating-point numbers.
_LARGEST = float(np.finfo(np.float32).max)


class FinitePredictMixin(BasePolicy):
    """What a policy needs to refuse wrong observations, and to give no action that is not finite.

    Put it before the policy's class: ``class MyPolicy(FinitePredictMixin, TD3Policy)``. Acting while
    learning goes through `predict` too in off-policy algorithms; a row is then an environment.
    """

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Give the action for an observation, or the actions ``[B, ...]`` for a batch of them.

        Args:
            observation: One observation, in the space's shape, or a batch with one more dimension in front.
                Values out of the space's bounds are allowed.
            state: Passed on to Stable-Baselines3.
            episode_start: Passed on to Stable-Baselines3.
            deterministic: Whether to give the mean action rather than to draw one.

        Returns:
            The action and the next hidden state.

        Raises:
            NonFiniteError: The observation has NaN, infinity or what float32 cannot hold, or the action
                would not be finite.
            ShapeError: The observation has the wrong shape, or no rows.
            ConfigError: It does not hold numbers, is a dict where none belongs, none where one does, or
                lacks a key.
            UnknownNameError: It has a key that the observation space does not.
        """
        check_observation(observation, self.observation_space)
        try:
            actions, state = super().predict(observation, state, episode_start, deterministic)
        except ValueError as error:
            # torch's distributions refuse a mean of NaN, without a word on where it came from.
            weight = non_finite_weight(self)
            if weight is None:
                raise
            raise NonFiniteError(
                f"the policy has no finite action to give: its weight {weight} is not finite"
            ) from error
        # NumPy's scalars have a dtype too: an action space of shape () gives one.
        if actions.dtype.kind == "f" and not np.isfinite(actions).all():
            raise NonFiniteError(self._bad_action(actions))
        return actions, state

    def _bad_action(self, actions: NDArray[Any]) -> str:
        index = first_non_finite(actions) or ()
        batched = actions.ndim > len(self.action_space.shape or ())
        weight = non_finite_weight(self)
        reason = f"its weight {weight} is not finite" if weight else "though all its weights are finite"
        where = _row_and_place(index, batched)
        return f"the policy would give an action of {actions[index]}{where and f' {where}'}: {reason}"


def check_observation(observation: Any, space: spaces.Space[Any]) -> None:
    """Refuse an observation that a policy cannot act on; values out of the space's bounds are allowed.

    Args:
        observation: One observation or a batch of them, an array or a dict of arrays.
        space: The policy's observation space.

    Raises:
        NonFiniteError: A value is NaN, infinite, or larger than float32 can hold.
        ShapeError: The shape is wrong, or there are no rows.
        ConfigError: The observation does not hold numbers, is a dict where none belongs, none where one
            does, or lacks a key.
        UnknownNameError: A key is unknown.
    """
    if isinstance(space, spaces.Dict):
        _check_dict(observation, space)
    elif isinstance(observation, Mapping):
        keys = ", ".join(map(str, observation))
        raise ConfigError(
            f"the observation must be an array of shape {space.shape}, got a dict with the keys {keys}"
        )
    elif not _is_pair_of_reset(observation):
        _check_array("the observation", observation, space)


def first_non_finite(values: NDArray[Any]) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity, or None; whole numbers are always finite.

    Args:
        values: An array of any shape; ``()`` is the index in an array without dimensions.
    """
    if values.dtype.kind != "f":
        return None
    finite = np.isfinite(values)
    if finite.all():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), values.shape))


def non_finite_weight(module: nn.Module) -> str | None:
    """Return the name of the first parameter or buffer that is not finite, or None.

    Args:
        module: A policy, or any network.
    """
    for name, tensor in module.state_dict().items():
        if torch.is_tensor(tensor) and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def place(index: tuple[int, ...]) -> str:
    """Say where in an observation or action a value stands, "" where there is one value only.

    Args:
        index: The index, without the row or environment.
    """
    if not index:
        return ""
    return f"column {index[0]}" if len(index) == 1 else f"position {index}"


def _row_and_place(index: tuple[int, ...], batched: bool) -> str:
    """Return for example "at row 2, column 5"."""
    if not batched:
        return f"at {place(index)}" if index else ""
    row = f"at row {index[0]} (environment {index[0]} while training)"
    return f"{row}, {place(index[1:])}" if index[1:] else row


def _is_pair_of_reset(observation: Any) -> bool:
    """Whether this is Gymnasium's (observation, info), of which Stable-Baselines3 itself says enough."""
    return isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], dict)


def _check_dict(observation: Any, space: spaces.Dict) -> None:
    keys = ", ".join(space.spaces)
    if not isinstance(observation, Mapping):
        if _is_pair_of_reset(observation):
            return
        raise ConfigError(
            f"the observation must be a dict with the keys {keys}, got {type(observation).__name__}"
        )
    for key in observation:
        if key not in space.spaces:
            raise unknown_name("key of the observation", str(key), space.spaces)
    rows: dict[str, int] = {}
    for key, part in space.spaces.items():
        if key not in observation:
            raise ConfigError(f"the observation lacks the key {key!r} (it needs {keys})")
        rows[key] = _check_array(f"the observation {key!r}", observation[key], part)
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{count} in {key!r}" for key, count in rows.items())
        raise ShapeError(f"every part of the observation must have the same number of rows, got {counts}")


def _check_array(name: str, observation: Any, space: spaces.Space[Any]) -> int:
    """Check one array and return its number of rows, 1 if it is no batch."""
    array = observation if isinstance(observation, np.ndarray) else _as_array(name, observation)
    if array.dtype.kind not in _NUMBERS:
        raise ConfigError(f"{name} must hold numbers, got an array of dtype {array.dtype}")
    shape = space.shape or ()
    if array.shape != shape and array.shape[1:] != shape:
        # Stable-Baselines3 takes images with their channels last as well.
        array = maybe_transpose(array, space) if array.ndim in (3, 4) else array
        if array.shape != shape and array.shape[1:] != shape:
            batch = ", ".join(("rows", *map(str, shape)))
            raise ShapeError(
                f"{name} must have the shape {shape}, or ({batch}) in a batch, got {array.shape}"
            )
    batched = array.shape != shape
    if batched and len(array) == 0:
        raise ShapeError(f"{name} is a batch without rows, of shape {array.shape}: it needs at least one")
    if array.dtype.kind == "f":
        _check_finite(name, array, batched)
    return len(array) if batched else 1


def _as_array(name: str, observation: Any) -> NDArray[Any]:
    try:
        return np.asarray(observation)
    except ValueError as error:
        raise ShapeError(f"{name} is a nested list whose parts have different lengths") from error
    except TypeError as error:
        raise ConfigError(f"{name} must be an array, got {type(observation).__name__}: {error}") from error


def _check_finite(name: str, array: NDArray[Any], batched: bool) -> None:
    # Networks compute in float32: a finite float64 beyond it would become infinite there.
    fits = np.isfinite(array) if array.dtype.itemsize <= 4 else np.abs(array) <= _LARGEST
    if fits.all():
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmin(fits)), array.shape))
    where = _row_and_place(index, batched)
    value = array[index]
    limit = ", more than float32 can hold" if np.isfinite(value) else ""
    raise NonFiniteError(f"{name} has {value}{where and f' {where}'}{limit}")
