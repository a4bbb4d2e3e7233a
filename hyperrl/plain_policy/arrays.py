"""Arrays that nobody changes any more, of a checked shape and without NaN or infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import NonFiniteError, ShapeError


def frozen(
    name: str, values: ArrayLike, dtype: Any, ndim: int, *, finite: bool = True
) -> NDArray[np.floating[Any]]:
    """Return a read-only, contiguous copy.

    Args:
        name: What it is, for messages.
        values: The numbers.
        dtype: Their floating-point type.
        ndim: The number of dimensions.
        finite: Whether infinity is refused; NaN always is.

    Raises:
        ShapeError: It has another number of dimensions, or no element.
        NonFiniteError: A number is NaN, or infinite where it must not be, in that type.
    """
    with np.errstate(over="ignore"):
        array = np.array(values, dtype=dtype, order="C")
    if array.ndim != ndim or array.size == 0:
        raise ShapeError(
            f"{name} must have {ndim} dimension{'s' if ndim > 1 else ''} and at least one element, "
            f"got shape {list(array.shape)}"
        )
    wrong = ~np.isfinite(array) if finite else np.isnan(array)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise NonFiniteError(f"{name} must be finite, but element {list(index)} is {array[index]}")
    array.setflags(write=False)
    return array
