"""`film`: a shared network whose units are scaled and shifted by the condition (an honest baseline)."""

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


class FilmKind(Kind):
    """``y = s(f) * (W0 x) + b(f)``: feature-wise linear modulation (Perez et al., AAAI 2018).

    The factor on the shared bias that FiLM has is part of the generated bias.

    Args:
        spec: The target network, with dense layers.
        feature_dim: Number of features K.

    Raises:
        ConfigError: If the spec has no dense layers or they have no bias.
    """

    generates_weights: ClassVar[bool] = False

    def __init__(self, spec: TargetSpec, feature_dim: int) -> None:
        super().__init__(spec, feature_dim)
        if not spec.layers or any(layer.bias is None for layer in spec.layers):
            raise ConfigError("feature-wise modulation needs a target spec whose dense layers have biases")
        self.widths = [layer.out_features for layer in spec.layers]
        self.scale_head = nn.Parameter(torch.zeros(feature_dim, sum(self.widths)))
        self.vector_bank = nn.Parameter(torch.zeros(feature_dim, self.base_vectors.numel()))

    def forward(self, features: Tensor) -> Generated:
        """Generate from ``[*batch, K]``."""
        scales = (1 + features @ self.scale_head).split(self.widths, dim=-1)
        weights = tuple(
            GeneratedWeight(base=base, scale=scale)
            for base, scale in zip(self.base_weights, scales, strict=True)
        )
        vectors = features @ self.vector_bank + self.base_vectors
        return Generated(self.spec, features.shape[:-1], weights, vectors)

    @torch.no_grad()
    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Fill all parameters.

        Raises:
            ConfigError: For every method but ``bias_hyper``, the only one that leaves a working network.
        """
        if config.method != "bias_hyper":
            raise ConfigError(
                f"feature-wise modulation initialises by 'bias_hyper' only, not {config.method!r}"
            )
        initialise(self._vector_blocks(self.vector_bank), self.spec, config, second_moment)
        plain = self.spec.unflatten(self.spec.init_flat())
        for layer, base in zip(self.spec.layers, self.base_weights, strict=True):
            base.copy_(plain[layer.weight].t())
        bound = config.scale * sqrt(3 / (self.feature_dim * second_moment))
        self.scale_head.uniform_(-bound, bound)
