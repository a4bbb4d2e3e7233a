"""Initialisers of a hypernetwork's head: what the generated weights look like before training.

The head of one target tensor maps K features to the tensor, ``theta = base + f @ head``. With
``v = E[f_k^2]`` the initialisers below control the variance of what is generated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, sqrt

import torch
from torch import Tensor

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets.activations import RECTIFIERS
from hyperrl.nets.spec import TargetSpec, TensorSpec
from hyperrl.nets.target_init import sample_bias, sample_weight, weight_std

INITS: tuple[str, ...] = (
    *("bias_hyper", "weight_hyper", "hyperfan_in", "hyperfan_out", "hyperl", "hyperzero", "mip"),
)
_HYPERL_FEATURES = 1024
_HYPERL_HIDDEN, _HYPERL_OUTPUT = 0.05, 0.008
_LEAKY_RELU_GAIN_SQUARED = 2 / (1 + 0.01**2)


@dataclass(frozen=True)
class InitConfig:
    """How a head starts.

    Attributes:
        method: ``bias_hyper`` (Beck et al., CoRL 2022: the base is the plain network, the head is zero or,
            with ``scale`` above 0, small), ``weight_hyper`` (same paper: every feature holds a plain
            network), ``hyperfan_in``, ``hyperfan_out`` (Chang et al., ICLR 2020), ``hyperl`` (the constants
            of Sarafian et al., ICML 2021), ``hyperzero`` (the same constants whatever the number of features,
            Rezaei-Shoshtari et al., AAAI 2023), ``mip`` (Ortiz et al., ICLR 2024: plain base, Kaiming fan-out
            head).
        scale: For ``bias_hyper``: standard deviation of the generated difference as a fraction of the
            plain network's weights. 0 makes every condition yield exactly the plain network.
        generated_bias_shares_variance: For ``hyperfan_in``: whether generated biases carry half of the
            pre-activation variance, as published; otherwise their heads start at zero.

    Raises:
        UnknownNameError: If the method is unknown.
        ConfigError: If the scale is negative or not finite.
    """

    method: str = "bias_hyper"
    scale: float = 0.0
    generated_bias_shares_variance: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown methods and impossible scales."""
        if self.method not in INITS:
            raise unknown_name("hypernetwork initialiser", self.method, INITS)
        if not isfinite(self.scale) or self.scale < 0:
            raise ConfigError(f"the head scale must be a finite number of at least 0, got {self.scale}")


@dataclass(frozen=True)
class HeadBlock:
    """The part of a head that generates one target tensor, as views to be filled in place.

    Attributes:
        tensor: The target tensor.
        head: ``[K, *shape]``, or ``[K, in, out]`` if transposed.
        base: ``[*shape]``, or ``[in, out]`` if transposed.
        transposed: Whether a weight matrix is held as ``[in, out]`` rather than ``(out, in)``.
    """

    tensor: TensorSpec
    head: Tensor
    base: Tensor
    transposed: bool = False


@torch.no_grad()
def initialise(
    blocks: Iterable[HeadBlock], spec: TargetSpec, config: InitConfig, second_moment: float
) -> None:
    """Fill heads and bases in place.

    Args:
        blocks: The head blocks.
        spec: The target that they belong to.
        config: The method.
        second_moment: Measured ``v = E[f_k^2]`` of the features.
    """
    last_layer = max(tensor.layer for tensor in spec.tensors)
    for block in blocks:
        _reset_base(block, spec, config.method)
        if config.method == "weight_hyper":
            _fill_with_plain_networks(block, spec)
        elif config.method in ("hyperl", "hyperzero"):
            features = _HYPERL_FEATURES if config.method == "hyperl" else block.head.shape[0]
            _fill_hyperl(block, features, last=block.tensor.layer == last_layer)
        elif config.method == "mip":
            block.head.normal_(0.0, sqrt(_LEAKY_RELU_GAIN_SQUARED / block.tensor.numel))
        else:
            variance = _head_variance(block.tensor, spec, config)
            std = sqrt(variance / (block.head.shape[0] * second_moment))
            block.head.uniform_(-sqrt(3) * std, sqrt(3) * std)


def _head_variance(tensor: TensorSpec, spec: TargetSpec, config: InitConfig) -> float:
    """Variance that the generated difference should have: the head's own times ``K E[f_k^2]``."""
    if config.method == "bias_hyper":
        # Gains and normalisation weights start at 1, everything else at the plain network's scale.
        unit = tensor.role in ("gain", "other")
        plain = 1.0 if unit else weight_std(spec.init, tensor.fan_in, tensor.fan_out) * tensor.init_gain
        return (config.scale * plain) ** 2
    if tensor.role not in ("weight", "bias"):
        return 0.0
    rectified = any(layer.activation in RECTIFIERS for layer in spec.layers)
    gain = 2.0 if rectified else 1.0
    if config.method == "hyperfan_out":
        if tensor.role == "weight":
            return gain / tensor.fan_out
        return max(0.0, gain * (1 - tensor.fan_in / tensor.fan_out))
    shares = config.generated_bias_shares_variance and any(
        other.role == "bias" and other.layer == tensor.layer for other in spec.tensors
    )
    if tensor.role == "weight":
        return gain / ((2 if shares else 1) * tensor.fan_in)
    return gain / 2 if shares else 0.0


def _reset_base(block: HeadBlock, spec: TargetSpec, method: str) -> None:
    if block.tensor.role in ("gain", "other"):
        block.base.fill_(1.0)
    elif method in ("bias_hyper", "mip"):
        _sample(block.base, block, "kaiming" if method == "mip" else spec.init)
    else:
        block.base.zero_()


def _fill_with_plain_networks(block: HeadBlock, spec: TargetSpec) -> None:
    if block.tensor.role in ("gain", "other"):
        block.head.zero_()
        return
    for template in block.head:
        _sample(template, block, spec.init)


def _sample(target: Tensor, block: HeadBlock, scheme: str) -> None:
    """Fill a base or template of a weight or bias as the plain network's tensor would be."""
    tensor = block.tensor
    value = torch.empty(tensor.shape, dtype=target.dtype)
    if tensor.role == "weight":
        sample_weight(value, scheme, tensor.init_gain, None)
        target.copy_(value.t() if block.transposed else value)
    else:
        sample_bias(value, scheme, tensor.fan_in, tensor.init_gain, None)
        target.copy_(value)


def _fill_hyperl(block: HeadBlock, features: int, *, last: bool) -> None:
    """U(±0.05), U(±0.008) on the output layer, for so many features; rescaled for any other number."""
    bound = (_HYPERL_OUTPUT if last else _HYPERL_HIDDEN) * sqrt(features / block.head.shape[0])
    block.head.uniform_(-bound, bound)
