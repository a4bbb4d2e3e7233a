"""The activations that a plain policy may have, in NumPy, with torch's definitions and default constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

LEAKY_SLOPE = 0.01
"""Slope of ``leaky_relu`` below zero, torch's default."""
SOFTPLUS_THRESHOLD = 20.0
"""Where ``softplus`` becomes the identity, as in torch."""

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _identity(x: Array) -> Array:
    return x


def _relu(x: Array) -> Array:
    return np.maximum(x, x.dtype.type(0))


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, x.dtype.type(0))))


def _leaky_relu(x: Array) -> Array:
    return np.where(x > 0, x, x * x.dtype.type(LEAKY_SLOPE))


def _sigmoid(x: Array) -> Array:
    half = x.dtype.type(0.5)
    return half * (np.tanh(half * x) + x.dtype.type(1))


def _silu(x: Array) -> Array:
    return x * _sigmoid(x)


def _gelu(x: Array) -> Array:
    phi = 0.5 * (1.0 + _erf(x.astype(np.float64) / math.sqrt(2.0)))
    return np.asarray(x * phi.astype(x.dtype))


def _softplus(x: Array) -> Array:
    return np.where(x > SOFTPLUS_THRESHOLD, x, np.logaddexp(x, x.dtype.type(0)))


def _mish(x: Array) -> Array:
    return x * np.tanh(_softplus(x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": _identity,
    "relu": _relu,
    "tanh": np.tanh,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
    "mish": _mish,
}
"""Functions of an array by name; they keep its dtype."""
