"""Contexts as networks see them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.context.space import Array, ContextSpace

RAW = "raw"
"""The units in which nothing is changed; in any others contexts are normalised."""


def shown(space: ContextSpace, contexts: ArrayLike, units: str = "normalised") -> NDArray[np.float32]:
    """Return contexts as observations show them.

    Normalised, a periodic parameter becomes two numbers, the cosine and the sine of its place on the circle:
    neighbours stay neighbours wherever the circle is cut open. In raw units everything stays as it is.

    Args:
        space: The contexts' space.
        contexts: Raw, shape [..., d].
        units: "normalised" or "raw".

    Returns:
        Shape [..., c] with `shown_size` numbers c.
    """
    values = np.asarray(contexts, np.float64)
    if units == RAW:
        return values.astype(np.float32)
    normalised = space.normalise(values)
    if not any(param.periodic for param in space):
        return normalised.astype(np.float32)
    columns: list[Array] = []
    for index, param in enumerate(space):
        if not param.periodic:
            columns.append(normalised[..., index])
            continue
        # A new array, without strides: on them it may depend how NumPy computes sines.
        angles = (values[..., index] - param.low) * (2 * np.pi / (param.high - param.low))
        columns += [np.cos(angles), np.sin(angles)]
    return np.stack(columns, axis=-1).astype(np.float32)


def shown_size(space: ContextSpace, units: str = "normalised") -> int:
    """Return how many numbers `shown` makes of a context."""
    return len(space) + (0 if units == RAW else sum(param.periodic for param in space))


def shown_bounds(
    space: ContextSpace, units: str = "normalised"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least and the greatest numbers that `shown` makes, shape [c] each."""
    low, high = (shown(space, bounds, units) for bounds in (space.low, space.high))
    if units != RAW:
        circular = np.repeat([param.periodic for param in space], [1 + param.periodic for param in space])
        low, high = np.where(circular, np.float32(-1), low), np.where(circular, np.float32(1), high)
    return low, high
