"""Hidden layers of int8 weights.

Each row of a weight has one scale, symmetric about zero; each layer's input has one, from the largest value
that it takes on a rollout; products are summed in int32. Biases, the normaliser and the last layer, whose
errors reach the action directly, stay float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.plain_policy import ACTIVATIONS, DenseLayer, PlainPolicy

_STEPS = 127


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """A dense layer of int8 weights.

    Attributes:
        weight: ``[out, in]``, int8.
        scale: What an int32 sum is multiplied by, ``[out]``, float32.
        inverse_input_scale: What the input is multiplied by before it is rounded, a float32.
        bias: ``[out]``, float32.
        activation: Name of the activation.
    """

    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    inverse_input_scale: np.float32
    bias: NDArray[np.float32]
    activation: str

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the layer as the exported code does.

        Args:
            x: ``[..., in]``, float32.
        """
        scaled = np.clip(x * self.inverse_input_scale, np.float32(-_STEPS), np.float32(_STEPS))
        half = np.where(scaled < 0, np.float32(-0.5), np.float32(0.5))
        rounded = np.trunc(scaled + half).astype(np.int32)
        sums = (rounded @ self.weight.astype(np.int32).T).astype(np.float32)
        return np.asarray(ACTIVATIONS[self.activation](sums * self.scale + self.bias), np.float32)


def quantise(policy: PlainPolicy, observations: ArrayLike) -> tuple[Int8Layer, ...]:
    """Return the hidden layers with int8 weights.

    Args:
        policy: The policy.
        observations: Of a rollout ``[N, in]``, by which inputs are scaled.
    """
    x: NDArray[Any] = np.asarray(observations, np.float64)
    if policy.normaliser is not None:
        x = policy.normaliser(x)
    layers = []
    for layer in policy.layers[:-1]:
        layers.append(_quantised(layer, float(np.abs(x).max())))
        x = layer(x)
    return tuple(layers)


def _quantised(layer: DenseLayer, largest_input: float) -> Int8Layer:
    largest = np.abs(layer.weight).max(axis=1).astype(np.float64)
    steps = np.where(largest > 0, largest, 1.0) / _STEPS
    weight = np.clip(np.rint(layer.weight / steps[:, None]), -_STEPS, _STEPS).astype(np.int8)
    step = (largest_input or 1.0) / _STEPS
    scale = (steps * step).astype(np.float32)
    return Int8Layer(weight, scale, np.float32(1 / step), layer.bias, layer.activation)


def act_int8(
    policy: PlainPolicy, layers: tuple[Int8Layer, ...], observations: ArrayLike
) -> NDArray[np.float32]:
    """Return what the exported code does, computed in NumPy.

    Args:
        policy: The policy, for its normaliser, last layer and head.
        layers: Its hidden layers, from `quantise`.
        observations: ``[N, in]``.

    Returns:
        Actions ``[N, out]``.
    """
    x: NDArray[Any] = np.asarray(observations, np.float32)
    if policy.normaliser is not None:
        x = policy.normaliser(x).astype(np.float32)
    for layer in layers:
        x = layer(x)
    return np.asarray(policy.head(policy.layers[-1](x)), np.float32)
