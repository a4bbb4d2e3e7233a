"""`lowrank`: a shared matrix plus a generated matrix of small rank."""

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
from hyperrl.nets.target_init import weight_std


class LowRankKind(Kind):
    """``W = W0 + A(f) B(f)`` with rank r; biases and gains are generated in full.

    At the start A varies with the condition and B is zero (or small, by the head scale): one zero factor
    only, or nothing would ever learn. Both factors grow with the features, so the head scale is exact for
    features of constant norm, and a lower bound for others.

    Args:
        spec: The target network, with dense layers.
        feature_dim: Number of features K.
        rank: Rank r.

    Raises:
        ConfigError: If the rank is no positive integer or the spec has no dense layers.
    """

    default_hidden: ClassVar[tuple[int, ...]] = (64,)
    default_features: ClassVar[int | None] = 128

    def __init__(self, spec: TargetSpec, feature_dim: int, rank: int = 4) -> None:
        super().__init__(spec, feature_dim)
        if not isinstance(rank, int) or rank < 1:
            raise ConfigError(
                f"the rank of a low-rank hypernetwork must be an integer of at least 1, got {rank!r}"
            )
        if not spec.layers:
            raise ConfigError("a low-rank hypernetwork needs a target spec with dense layers")
        self.rank = rank
        sizes = [(layer.in_features * rank, layer.out_features * rank) for layer in spec.layers]
        self.left_heads = nn.ParameterList(torch.zeros(feature_dim, left) for left, _ in sizes)
        self.left_bases = nn.ParameterList(torch.zeros(left) for left, _ in sizes)
        self.right_heads = nn.ParameterList(torch.zeros(feature_dim, right) for _, right in sizes)
        self.right_bases = nn.ParameterList(torch.zeros(right) for _, right in sizes)
        self.vector_bank = nn.Parameter(torch.zeros(feature_dim, self.base_vectors.numel()))

    def forward(self, features: Tensor) -> Generated:
        """Generate from ``[*batch, K]``."""
        weights = []
        for index, layer in enumerate(self.spec.layers):
            left = features @ self.left_heads[index] + self.left_bases[index]
            right = features @ self.right_heads[index] + self.right_bases[index]
            weights.append(
                GeneratedWeight(
                    base=self.base_weights[index],
                    left=left.unflatten(-1, (layer.in_features, self.rank)),
                    right=right.unflatten(-1, (self.rank, layer.out_features)),
                )
            )
        vectors = features @ self.vector_bank + self.base_vectors
        return Generated(self.spec, features.shape[:-1], tuple(weights), vectors)

    @torch.no_grad()
    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Fill all parameters.

        Raises:
            ConfigError: For every method but ``bias_hyper``, the only one with a low-rank meaning.
        """
        if config.method != "bias_hyper":
            raise ConfigError(
                f"a low-rank hypernetwork initialises by 'bias_hyper' only, not {config.method!r}"
            )
        initialise(self._vector_blocks(self.vector_bank), self.spec, config, second_moment)
        self._reset_matrices(config.scale, second_moment)

    def _reset_matrices(self, scale: float, second_moment: float) -> None:
        plain = self.spec.unflatten(self.spec.init_flat())
        unit = 1 / sqrt(self.feature_dim * second_moment)
        for index, layer in enumerate(self.spec.layers):
            self.base_weights[index].copy_(plain[layer.weight].t())
            # Half of A's variance is common to all conditions, half varies.
            self.left_bases[index].normal_(0.0, sqrt(0.5))
            self.left_heads[index].normal_(0.0, sqrt(0.5) * unit)
            matrix = self._matrix(index)
            std = weight_std(self.spec.init, matrix.fan_in, matrix.fan_out) * matrix.init_gain
            self.right_heads[index].normal_(0.0, scale * std * unit / sqrt(self.rank))
            self.right_bases[index].zero_()
