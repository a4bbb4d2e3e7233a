"""`chunked`: one small network gives all weights in pieces, and is told which piece is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, sqrt
from numbers import Integral
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperrl.errors import ConfigError
from hyperrl.nets.generated import Generated, GeneratedWeight
from hyperrl.nets.init import InitConfig
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import TargetSpec
from hyperrl.nets.target_init import weight_std

_PROBES = 256


class ChunkedKind(Kind):
    """All weights as C pieces of the same size, each from ``(features, embedding of the piece)``.

    Chunked hypernetworks are of von Oswald et al. (ICLR 2020). As the pieces share one network, they take far
    fewer parameters than they have numbers. What the network gives is multiplied by the standard deviation
    that each tensor of a plain network would start with, since a piece can belong to several tensors.

    Args:
        spec: The target network, with dense layers.
        feature_dim: Number of features K.
        chunk: Numbers of a piece.
        embedding: Size of a piece's embedding.
        widths: Hidden widths of the network, with ReLU behind each.
        base: Whether independent weights are added to what is generated.

    Raises:
        ConfigError: A size is no positive integer, or the spec has no dense layers.
    """

    takes_trunk: ClassVar[bool] = False

    def __init__(
        self,
        spec: TargetSpec,
        feature_dim: int,
        chunk: int = 512,
        embedding: int = 8,
        widths: Sequence[int] = (64, 64),
        base: bool = True,
    ) -> None:
        sizes = [chunk, embedding, *widths]
        if any(isinstance(size, bool) or not isinstance(size, Integral) or size < 1 for size in sizes):
            raise ConfigError(
                f"a chunked hypernetwork needs positive integers as the size of a chunk, of its embedding "
                f"and of layers, got {chunk}, {embedding} and {list(widths)}"
            )
        if not widths:
            raise ConfigError("a chunked hypernetwork needs at least one hidden layer")
        if not spec.layers:
            raise ConfigError("a chunked hypernetwork needs a target spec with dense layers")
        super().__init__(spec, feature_dim)
        self.has_base = base
        if not base:
            # They stay where they are, zero, and are no parameters.
            zeros = torch.zeros_like(self.base_vectors)
            del self.base_vectors, self.base_weights
            self.register_buffer("base_vectors", zeros, persistent=False)
            self.base_weights = nn.ParameterList()
        self.chunks = ceil(spec.numel / chunk)
        self.embeddings = nn.Parameter(torch.zeros(self.chunks, embedding))
        pairs = list(pairwise([feature_dim + embedding, *widths, chunk]))
        self.matrices = nn.ParameterList(torch.zeros(fan_in, fan_out) for fan_in, fan_out in pairs)
        self.biases = nn.ParameterList(torch.zeros(fan_out) for _, fan_out in pairs)
        self.register_buffer("scale", self._plain_scale(), persistent=False)

    scale: Tensor

    def forward(self, features: Tensor) -> Generated:
        """Generate from ``[*batch, K]``."""
        pieces = self._hidden(features) @ self.matrices[-1] + self.biases[-1]
        flat = pieces.flatten(-2)[..., : self.spec.numel] * self.scale
        generated = Generated.from_flat(self.spec, flat)
        if not self.has_base:
            return generated
        weights = tuple(
            GeneratedWeight(base=base + weight.dense())
            for base, weight in zip(self.base_weights, generated.weights, strict=True)
        )
        vectors = self.base_vectors + generated.vectors
        return Generated(self.spec, generated.batch_shape, weights, vectors)

    def theta0(self) -> Tensor:
        """The independent weights ``[P]``, zero where there are none."""
        return super().theta0() if self.has_base else torch.zeros_like(self.scale)

    def set_theta0(self, flat: Tensor) -> None:
        """Replace the independent weights.

        Args:
            flat: ``[P]``.

        Raises:
            ConfigError: There are none.
            ShapeError: If the shape is another.
        """
        if not self.has_base:
            raise ConfigError("this chunked hypernetwork has no independent weights: build it with base=True")
        super().set_theta0(flat)

    def freeze_theta0(self, frozen: bool = True) -> None:
        """Stop (or resume) training the independent weights, if there are any."""
        if self.has_base:
            super().freeze_theta0(frozen)

    @torch.no_grad()
    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Fill all parameters.

        With independent weights these are the plain network, and the rest is as small as the configuration
        says; without them, generated weights have the plain network's standard deviations.

        Raises:
            ConfigError: For every method but ``bias_hyper``: pieces belong to no tensor of their own.
        """
        if config.method != "bias_hyper":
            raise ConfigError(
                f"a chunked hypernetwork initialises by 'bias_hyper' only, not {config.method!r}"
            )
        self.embeddings.normal_()
        for matrix, bias in zip(self.matrices[:-1], self.biases[:-1], strict=True):
            nn.init.kaiming_uniform_(matrix.t(), nonlinearity="relu")
            bias.zero_()
        if self.has_base:
            self.set_theta0(self.spec.init_flat())
        probes = sqrt(second_moment) * torch.randn(_PROBES, self.feature_dim).to(self.embeddings)
        moment = float(self._hidden(probes).square().mean())
        wanted = config.scale if self.has_base else 1.0
        bound = wanted * sqrt(3 / (self.matrices[-1].shape[0] * max(moment, 1e-12)))
        self.matrices[-1].uniform_(-bound, bound)
        self.biases[-1].zero_()

    def _hidden(self, features: Tensor) -> Tensor:
        """Features of each piece, ``[*batch, C, width]``."""
        # The first layer sees features and embeddings apart: neither is copied for the other.
        known = features.shape[-1]
        first = self.matrices[0]
        h = (features @ first[:known]).unsqueeze(-2) + self.embeddings @ first[known:] + self.biases[0]
        # Slices of a `ParameterList` hold parameters of their own, not those that a transform puts in.
        for matrix, bias in zip(list(self.matrices)[1:-1], list(self.biases)[1:-1], strict=True):
            h = functional.relu(h) @ matrix + bias
        return functional.relu(h)

    def _plain_scale(self) -> Tensor:
        """Standard deviation of each number in a plain network ``[P]``; 1 for gains and the like."""
        named = {}
        for tensor in self.spec.tensors:
            plain = weight_std(self.spec.init, tensor.fan_in, tensor.fan_out) * tensor.init_gain
            named[tensor.name] = torch.full(tensor.shape, plain if tensor.role in ("weight", "bias") else 1.0)
        return self.spec.flatten(named)
