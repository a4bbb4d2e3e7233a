"""The primary network: encoded condition in, features for the head out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, sqrt
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.nets.dense import DenseLinear

FEATURE_NORMS: tuple[str, ...] = ("none", "l2", "layer", "tanh")


def _are_sizes(sizes: Sequence[int]) -> bool:
    return all(isinstance(size, Integral) and size >= 1 for size in sizes)


class ResidualBlock(nn.Module):
    """``x + L2(relu(L1(relu(x))))`` (HypeRL, Sarafian et al., ICML 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = DenseLinear(width, width)
        self.second = DenseLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., width]`` to ``[..., width]``."""
        update: Tensor = self.second(functional.relu(self.first(functional.relu(x))))
        return x + update


class MLPTrunk(nn.Module):
    """Dense layers, the activation behind every one but the last.

    Args:
        input_dim: Size of the encoded condition.
        hidden: Hidden widths.
        features: Size of the output.
        activation: Name of the hidden activation.
        layer_norm: Whether each hidden layer is layer-normalised before its activation.

    Raises:
        UnknownNameError: If the activation is unknown.
        ConfigError: If a size is no positive integer.
    """

    def __init__(
        self, input_dim: int, hidden: Sequence[int], features: int, activation: str, layer_norm: bool = False
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        sizes = [input_dim, *hidden, features]
        if not _are_sizes(sizes):
            raise ConfigError(f"layer sizes of a primary network must be positive integers, got {sizes}")
        self.layers = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(sizes))
        norms = [nn.LayerNorm(width) if layer_norm else nn.Identity() for width in hidden]
        self.norms = nn.ModuleList(norms)
        self.activation = activation
        self.output_dim = features

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., input_dim]`` to ``[..., features]``."""
        activation = ACTIVATIONS[self.activation]
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = activation(norm(layer(x)))
        out: Tensor = self.layers[-1](x)
        return out


class ResidualTrunk(nn.Module):
    """HypeRL's primary network: per width a dense layer and residual blocks, no activation at the end.

    Args:
        input_dim: Size of the encoded condition.
        widths: Widths; (256, 512, 1024) in the paper's code.
        blocks: Residual blocks per width.
        init_scale: Dense weights start as U(±init_scale / sqrt(fan_in)); biases keep torch's default. The
            published code has 1/2 in its TD3 and 1/sqrt(2) in its SAC.

    Raises:
        ConfigError: If there is no width, a size is not positive or the scale is not a positive number.
    """

    def __init__(
        self, input_dim: int, widths: Sequence[int], blocks: int = 2, init_scale: float = 0.5
    ) -> None:
        super().__init__()
        if not widths or not _are_sizes([input_dim, *widths]) or blocks < 0:
            raise ConfigError(
                f"a residual trunk needs positive integer widths and at least 0 blocks, "
                f"got {list(widths)} with {blocks} blocks"
            )
        if not (isfinite(init_scale) and init_scale > 0):
            raise ConfigError(f"a residual trunk's initial scale must be a positive number, got {init_scale}")
        layers: list[nn.Module] = []
        for fan_in, width in pairwise([input_dim, *widths]):
            layers.append(DenseLinear(fan_in, width))
            layers.extend(ResidualBlock(width) for _ in range(blocks))
        self.layers = nn.Sequential(*layers)
        self.output_dim = widths[-1]
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = init_scale / sqrt(module.in_features)
                nn.init.uniform_(module.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., input_dim]`` to ``[..., widths[-1]]``."""
        out: Tensor = self.layers(x)
        return out


class FeatureNorm(nn.Module):
    """Keeps the features that feed a head at a known size.

    ``l2`` rescales to norm sqrt(K), ``layer`` standardises, ``tanh`` squashes, ``none`` does nothing.
    Constant-norm features also bound the step that Adam takes in weight space.

    Args:
        kind: One of ``none | l2 | layer | tanh``.

    Raises:
        UnknownNameError: If the kind is unknown.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in FEATURE_NORMS:
            raise unknown_name("feature norm", kind, FEATURE_NORMS)
        self.kind = kind

    def forward(self, features: Tensor) -> Tensor:
        """Normalise ``[..., K]``."""
        if self.kind == "l2":
            return features * (features.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
        if self.kind == "layer":
            return functional.layer_norm(features, features.shape[-1:])
        return torch.tanh(features) if self.kind == "tanh" else features
