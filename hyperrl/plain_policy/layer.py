"""One dense layer of a plain policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ShapeError, unknown_name
from hyperrl.plain_policy.activations import ACTIVATIONS
from hyperrl.plain_policy.arrays import frozen


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """``activation(x @ weight.T + bias)``.

    Attributes:
        weight: ``[out, in]``, float32, row by row.
        bias: ``[out]``, float32.
        activation: A name in `hyperrl.plain_policy.ACTIVATIONS`.

    Raises:
        ShapeError: If weight and bias do not belong together.
        NonFiniteError: If a number is NaN or infinite.
        UnknownNameError: If there is no such activation.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: str = "identity"

    def __post_init__(self) -> None:
        weight = frozen("a layer's weight", self.weight, np.float32, 2)
        bias = frozen("a layer's bias", self.bias, np.float32, 1)
        if bias.shape[0] != weight.shape[0]:
            raise ShapeError(
                f"a layer's bias must have one number for each of the {weight.shape[0]} rows of its weight, "
                f"got {bias.shape[0]}"
            )
        if self.activation not in ACTIVATIONS:
            raise unknown_name("activation", self.activation, ACTIVATIONS)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    @property
    def inputs(self) -> int:
        """Size of the input."""
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """Size of the output."""
        return int(self.weight.shape[0])

    def __call__(self, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Apply the layer in the precision of its input.

        Args:
            x: ``[..., in]``.

        Returns:
            ``[..., out]``, of the same dtype.
        """
        weight = self.weight.astype(x.dtype, copy=False)
        return ACTIVATIONS[self.activation](x @ weight.T + self.bias.astype(x.dtype, copy=False))
