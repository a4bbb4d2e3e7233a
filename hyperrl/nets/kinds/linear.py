"""`linear`: every weight is an affine function of the encoded condition."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from hyperrl.nets.dense import matmul
from hyperrl.nets.generated import Generated, GeneratedWeight
from hyperrl.nets.init import InitConfig, initialise
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import TargetSpec


class LinearKind(Kind):
    """``theta = theta0 + sum_k f_k Theta_k`` with one bank of templates per target tensor.

    The bank of a weight matrix is stored as ``[K, in, out]``, which serves every contraction order
    without a copy.

    Args:
        spec: The target network.
        feature_dim: Number of features K.
    """

    takes_trunk: ClassVar[bool] = False

    def __init__(self, spec: TargetSpec, feature_dim: int) -> None:
        super().__init__(spec, feature_dim)
        self.banks = nn.ParameterList(
            torch.zeros(feature_dim, layer.in_features, layer.out_features) for layer in spec.layers
        )
        self.vector_bank = nn.Parameter(torch.zeros(feature_dim, self.base_vectors.numel()))

    def forward(self, features: Tensor) -> Generated:
        """Generate from ``[*batch, K]``."""
        weights = tuple(
            GeneratedWeight(base=base, bank=bank, coefficients=features)
            for base, bank in zip(self.base_weights, self.banks, strict=True)
        )
        vectors = matmul(features, self.vector_bank, self.base_vectors)
        return Generated(self.spec, features.shape[:-1], weights, vectors)

    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Fill all parameters by any of the methods of `InitConfig`."""
        blocks = [*self._matrix_blocks(self.banks), *self._vector_blocks(self.vector_bank)]
        blocks.sort(key=lambda block: self.spec.offsets[block.tensor.name])
        initialise(blocks, self.spec, config, second_moment)
