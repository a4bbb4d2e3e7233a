"""`modular`: every layer is a combination of a few templates, with coefficients of its own."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.nets.generated import Generated, GeneratedWeight
from hyperrl.nets.init import HeadBlock, InitConfig, initialise
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import TargetSpec


class ModularKind(Kind):
    """``theta_l = theta0_l + sum_m a_lm Theta_lm`` (Schug et al., ICLR 2024), ``|a_l| = sqrt(M)``.

    Args:
        spec: The target network.
        feature_dim: Number of features K.
        modules: Number of templates M per layer.

    Raises:
        ConfigError: If there is no module.
    """

    default_hidden: ClassVar[tuple[int, ...]] = (64,)
    default_features: ClassVar[int | None] = 128

    def __init__(self, spec: TargetSpec, feature_dim: int, modules: int = 8) -> None:
        super().__init__(spec, feature_dim)
        if modules < 1:
            raise ConfigError(f"a modular hypernetwork needs at least 1 module, got {modules}")
        self.modules_per_layer = modules
        self.layer_ids = sorted({tensor.layer for tensor in spec.tensors})
        self.banks = nn.ParameterList(
            torch.zeros(modules, layer.in_features, layer.out_features) for layer in spec.layers
        )
        self.vector_bank = nn.Parameter(torch.zeros(modules, self.base_vectors.numel()))
        self.coefficient_head = nn.Parameter(torch.zeros(feature_dim, len(self.layer_ids) * modules))
        self.coefficient_bias = nn.Parameter(torch.zeros(len(self.layer_ids) * modules))

    def coefficients(self, features: Tensor) -> Tensor:
        """Template coefficients ``[*batch, L, M]`` of norm sqrt(M) per layer."""
        raw = (features @ self.coefficient_head + self.coefficient_bias).unflatten(
            -1, (len(self.layer_ids), -1)
        )
        return raw * (raw.square().mean(-1, keepdim=True) + 1e-8).rsqrt()

    def forward(self, features: Tensor) -> Generated:
        """Generate from ``[*batch, K]``."""
        alpha = self.coefficients(features)
        weights = []
        for layer, base, bank in zip(self.spec.layers, self.base_weights, self.banks, strict=True):
            row = self.layer_ids.index(self.spec.by_name[layer.weight].layer)
            weights.append(GeneratedWeight(base=base, bank=bank, coefficients=alpha[..., row, :]))
        parts = [
            alpha[..., self.layer_ids.index(tensor.layer), :]
            @ self.vector_bank[:, self.spec.vector_slices[tensor.name]]
            for tensor in self.spec.vectors
        ]
        vectors = self.base_vectors + torch.cat(parts, dim=-1) if parts else self.base_vectors
        return Generated(self.spec, features.shape[:-1], tuple(weights), vectors)

    @torch.no_grad()
    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Fill all parameters; the coefficients' second moment is 1 by construction."""
        bound = sqrt(3 / (self.feature_dim * second_moment))
        self.coefficient_head.uniform_(-bound, bound)
        self.coefficient_bias.zero_()
        blocks = [
            HeadBlock(self._matrix(index), bank.data, base.data)
            for index, (bank, base) in enumerate(zip(self.banks, self.base_weights, strict=True))
        ]
        blocks += self._vector_blocks(self.vector_bank.data)
        initialise(blocks, self.spec, config, 1.0)
