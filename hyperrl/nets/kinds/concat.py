"""`concat`: a plain network of condition and input side by side (the baseline that needs no generation)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.nets.generated import Generated, GeneratedWeight
from hyperrl.nets.init import InitConfig
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import TargetSpec


class ConcatKind(Kind):
    """Concatenation of features and input, written as a generated first bias.

    ``W [x; f] + b = W_x x + (b + W_f f)``, so a fixed condition leaves a plain network here as well.

    Args:
        spec: The target network, with a bias in its first dense layer.
        feature_dim: Number of features K.

    Raises:
        ConfigError: If the first layer has no bias.
    """

    generates_weights: ClassVar[bool] = False

    def __init__(self, spec: TargetSpec, feature_dim: int) -> None:
        super().__init__(spec, feature_dim)
        if not spec.layers or spec.layers[0].bias is None:
            raise ConfigError("concatenation needs a target spec whose first dense layer has a bias")
        self.first_bias = spec.vector_slices[spec.layers[0].bias]
        self.condition_weight = nn.Parameter(torch.zeros(feature_dim, spec.layers[0].out_features))

    def forward(self, features: Tensor) -> Generated:
        """Generate from ``[*batch, K]``."""
        first = features @ self.condition_weight + self.base_vectors[self.first_bias]
        rest = self.base_vectors[self.first_bias.stop :].expand(*features.shape[:-1], -1)
        before = self.base_vectors[: self.first_bias.start].expand(*features.shape[:-1], -1)
        weights = tuple(GeneratedWeight(base=base) for base in self.base_weights)
        return Generated(self.spec, features.shape[:-1], weights, torch.cat([before, first, rest], dim=-1))

    @torch.no_grad()
    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Start as the plain network of the concatenated input would; the method makes no difference."""
        self.set_theta0(self.spec.init_flat())
        first = self.spec.layers[0]
        wide = TargetSpec.mlp(
            first.in_features + self.feature_dim, (), first.out_features, init=self.spec.init
        )
        named = wide.unflatten(wide.init_flat() * self._matrix(0).init_gain)
        weight = named[wide.layers[0].weight].t()
        self.base_weights[0].copy_(weight[: first.in_features])
        self.condition_weight.copy_(weight[first.in_features :])
        self.base_vectors[self.first_bias] = named["layers.0.bias"]
