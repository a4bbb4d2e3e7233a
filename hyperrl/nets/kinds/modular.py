"""`modular`: every layer is a combination of a few templates, with coefficients of its own."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.nets.generated import Generated, GeneratedWeight
from hyperrl.nets.init import InitConfig, initialise
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import TargetSpec


class ModularKind(Kind):
    """``theta_l = theta0_l + sum_m a_lm Theta_lm`` (Schug et al., ICLR 2024), ``|a_l| = sqrt(M)``.

    Args:
        spec: The target network.
        feature_dim: Number of features K.
        modules: Number of templates M per layer.

    Raises:
        ConfigError: If the number of modules is no positive integer.
    """

    default_hidden: ClassVar[tuple[int, ...]] = (64,)
    default_features: ClassVar[int | None] = 128

    def __init__(self, spec: TargetSpec, feature_dim: int, modules: int = 8) -> None:
        super().__init__(spec, feature_dim)
        if not isinstance(modules, int) or modules < 1:
            raise ConfigError(
                f"a modular hypernetwork needs an integer of at least 1 modules, got {modules!r}"
            )
        self.modules_per_layer = modules
        self.layer_ids = sorted({tensor.layer for tensor in spec.tensors})
        self.banks = nn.ParameterList(
            torch.zeros(modules, layer.in_features, layer.out_features) for layer in spec.layers
        )
        self.vector_bank = nn.Parameter(torch.zeros(modules, self.base_vectors.numel()))
        self.coefficient_head = nn.Parameter(torch.zeros(feature_dim, len(self.layer_ids) * modules))
        self.coefficient_bias = nn.Parameter(torch.zeros(len(self.layer_ids) * modules))

    @property
    def sizes(self) -> tuple[int, int]:
        """Layers L and templates M of each."""
        return len(self.layer_ids), self.modules_per_layer

    def coefficients(self, features: Tensor) -> Tensor:
        """Template coefficients ``[*batch, L, M]`` of norm sqrt(M) per layer."""
        flat: Tensor = features @ self.coefficient_head + self.coefficient_bias
        return self.normalised(flat.unflatten(-1, self.sizes))

    def normalised(self, raw: Tensor) -> Tensor:
        """Coefficients ``[*batch, L, M]`` of any size, rescaled to norm sqrt(M) per layer."""
        alpha: Tensor = raw * (raw.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
        return alpha

    def forward(self, features: Tensor) -> Generated:
        """Generate from ``[*batch, K]``."""
        return self.combine(self.coefficients(features))

    def combine(self, alpha: Tensor) -> Generated:
        """Combine the templates by coefficients ``[*batch, L, M]``, taken as they are."""
        of_layer = {layer: alpha[..., row, :] for row, layer in enumerate(self.layer_ids)}
        weights = [
            GeneratedWeight(base=base, bank=bank, coefficients=of_layer[self._matrix(index).layer])
            for index, (base, bank) in enumerate(zip(self.base_weights, self.banks, strict=True))
        ]
        parts = [
            of_layer[tensor.layer] @ self.vector_bank[:, self.spec.vector_slices[tensor.name]]
            for tensor in self.spec.vectors
        ]
        vectors = self.base_vectors + torch.cat(parts, dim=-1) if parts else self.base_vectors
        return Generated(self.spec, alpha.shape[:-2], tuple(weights), vectors)

    @torch.no_grad()
    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Fill all parameters; the coefficients' second moment is 1 by construction."""
        bound = sqrt(3 / (self.feature_dim * second_moment))
        self.coefficient_head.uniform_(-bound, bound)
        self.coefficient_bias.zero_()
        blocks = [*self._matrix_blocks(self.banks), *self._vector_blocks(self.vector_bank)]
        initialise(blocks, self.spec, config, 1.0)
