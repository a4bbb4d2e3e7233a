"""The normaliser in single precision, for formats without double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ExportError
from hyperrl.plain_policy import ObservationNormaliser


@dataclass(frozen=True, eq=False)
class Float32Normaliser:
    """``clip(((x - mean) - mean_rest) * inverse_deviation, -clip, clip)``.

    Attributes:
        mean: ``[in]``.
        mean_rest: What float32 loses of the mean, ``[in]``: where an observation lies close to a large mean
            or hardly ever changes, its subtraction keeps the digits that decide.
        inverse_deviation: ``[in]``.
        clip: The largest absolute value that comes out; infinity for no clip.
    """

    mean: NDArray[np.float32]
    mean_rest: NDArray[np.float32]
    inverse_deviation: NDArray[np.float32]
    clip: float


def in_float32(normaliser: ObservationNormaliser) -> Float32Normaliser:
    """Return a normaliser's numbers in float32.

    Args:
        normaliser: The normaliser.

    Raises:
        ExportError: One does not fit.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mean = normaliser.mean.astype(np.float32)
        rest = (normaliser.mean - mean).astype(np.float32)
        inverse = (1 / normaliser.deviation).astype(np.float32)
    if not (np.isfinite(mean).all() and np.isfinite(inverse).all()):
        raise ExportError("the normaliser's mean or deviation is too large or too small for float32")
    return Float32Normaliser(mean, rest, inverse, normaliser.clip)
