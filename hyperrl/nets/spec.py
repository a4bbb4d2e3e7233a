"""What a target network consists of: named tensors in a fixed order, and how they start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import isfinite, prod
from numbers import Integral
from typing import Literal

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError, ShapeError, unknown_name
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.nets.target_init import TARGET_INITS, sample_bias, sample_weight

NORMS: tuple[str, ...] = ("none", "layer")
Role = Literal["weight", "bias", "gain", "other"]
_NORMALISATION = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a target network.

    Attributes:
        name: Unique name, as in a ``state_dict``.
        shape: Shape without leading (batch) dimensions; weights are ``(out, in)`` as in ``nn.Linear``.
        role: What the tensor does; initialisers treat roles differently.
        layer: Index of the layer that the tensor belongs to.
        fan_in: Inputs that feed one output of that layer.
        fan_out: Outputs of that layer.
        init_gain: Factor on the layer's initial weights (0.01 for a PPO action head, for example).
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: int
    fan_in: int
    fan_out: int
    init_gain: float = 1.0

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class LayerSpec:
    """One dense layer ``y = gain * (weight @ x) + bias`` and the activation behind it.

    Attributes:
        in_features: Inputs.
        out_features: Outputs.
        weight: Name of the weight tensor.
        bias: Name of the bias tensor, or None.
        gain: Name of the per-output gain tensor, or None (HypeRL multiplies the product before the bias).
        activation: Name of the activation applied afterwards.
        norm: ``layer`` standardises the outputs before the activation, without parameters; ``none`` does not.
    """

    in_features: int
    out_features: int
    weight: str
    bias: str | None
    gain: str | None
    activation: str
    norm: str = "none"


@dataclass(frozen=True)
class TargetSpec:
    """Ordered description of a target network's tensors.

    The order of ``tensors`` is the order in the flat vector; it never depends on a dictionary's order.

    Attributes:
        tensors: All tensors.
        layers: The dense layers built from them; empty for a spec made by `from_module`.
        init: Name of the scheme that a plain network of this shape would be initialised with
            (``torch``, ``kaiming``, ``xavier``, ``orthogonal``, ``normc``).
    """

    tensors: tuple[TensorSpec, ...]
    layers: tuple[LayerSpec, ...] = ()
    init: str = "torch"

    def __post_init__(self) -> None:
        """Refuse specs that cannot be laid out."""
        if not self.tensors:
            raise ConfigError("a TargetSpec needs at least 1 tensor")
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            raise ConfigError(f"tensor names in a TargetSpec must be unique, got {names}")
        if self.init not in TARGET_INITS:
            raise unknown_name("target initialiser", self.init, TARGET_INITS)

    @classmethod
    def mlp(
        cls,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        *,
        activation: str = "relu",
        output_activation: str = "identity",
        bias: bool = True,
        gain: bool = False,
        norm: str = "none",
        init: str = "torch",
        output_init_gain: float = 1.0,
    ) -> TargetSpec:
        """Describe a multi-layer perceptron.

        Args:
            in_features: Size of the input.
            hidden: Widths of the hidden layers; empty for a single linear map.
            out_features: Size of the output.
            activation: Activation of the hidden layers.
            output_activation: Activation of the output layer.
            bias: Whether the layers have a bias.
            gain: Whether the layers have a per-output gain, as in HypeRL (Sarafian et al., ICML 2021).
            norm: ``layer`` standardises each hidden layer before its activation (no parameters).
            init: Initialiser of the plain network.
            output_init_gain: Factor on the output layer's initial weights.

        Raises:
            ConfigError: If a size is not positive or the output layer's gain is not finite.
            UnknownNameError: If an activation or the initialiser is unknown.
        """
        for name in (activation, output_activation):
            if name not in ACTIVATIONS:
                raise unknown_name("activation", name, ACTIVATIONS)
        sizes = [in_features, *hidden, out_features]
        if any(not isinstance(size, Integral) or size < 1 for size in sizes):
            raise ConfigError(f"layer sizes of a target network must be positive integers, got {sizes}")
        # NumPy's integers, which spaces give, would stay in the spec and in messages.
        sizes = [int(size) for size in sizes]
        if norm not in NORMS:
            raise unknown_name("layer norm", norm, NORMS)
        if not isfinite(output_init_gain):
            raise ConfigError(f"the output layer's initial gain must be finite, got {output_init_gain}")
        wanted: dict[Role, bool] = {"weight": True, "bias": bias, "gain": gain}
        roles = [role for role in wanted if wanted[role]]
        tensors: list[TensorSpec] = []
        layers: list[LayerSpec] = []
        for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            last = index == len(sizes) - 2
            names = {role: f"layers.{index}.{role}" for role in roles}
            for role, name in names.items():
                shape = (fan_out, fan_in) if role == "weight" else (fan_out,)
                factor = output_init_gain if last else 1.0
                tensors.append(TensorSpec(name, shape, role, index, fan_in, fan_out, factor))
            after = (output_activation, "none") if last else (activation, norm)
            layers.append(
                LayerSpec(fan_in, fan_out, names["weight"], names.get("bias"), names.get("gain"), *after)
            )
        return cls(tuple(tensors), tuple(layers), init)

    @classmethod
    def from_module(cls, module: nn.Module, include: str = ".*") -> TargetSpec:
        """Describe the parameters of any module, for use with `VmapTarget`.

        Parameters of one submodule form one layer; a bias has the fans of the weight beside it. Weights of
        normalisation layers, and vectors and scalars that are no bias, get the role ``other`` and start at 1,
        the biases of normalisation layers at 0. What starts otherwise in the module can be passed to
        `HyperNet.set_theta0`.

        Args:
            module: The module whose parameters are to be generated.
            include: Regular expression that a parameter's whole name must match.

        Raises:
            ConfigError: If no parameter matches, or the pattern is no regular expression.
        """
        try:
            pattern = re.compile(include)
        except re.error as error:
            raise ConfigError(f"{include!r} is not a regular expression: {error}") from error
        shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        layer_ids: dict[str, int] = {}
        tensors = []
        for name, shape in shapes.items():
            if not pattern.fullmatch(name):
                continue
            owner, _, leaf = name.rpartition(".")
            layer = layer_ids.setdefault(owner, len(layer_ids))
            is_bias = leaf.endswith("bias")
            weight = shapes.get(name.removesuffix("bias") + "weight") if is_bias else shape
            normalises = isinstance(module.get_submodule(owner), _NORMALISATION) or (
                weight is not None and len(weight) < 2
            )
            role: Role = "bias" if is_bias else "other" if normalises else "weight"
            fan_in, fan_out = _fans(weight or shape)
            init_gain = 0.0 if is_bias and normalises else 1.0
            tensors.append(TensorSpec(name, shape, role, layer, fan_in, fan_out, init_gain))
        if not tensors:
            raise ConfigError(f"no parameter of {type(module).__name__} matches the pattern {include!r}")
        return cls(tuple(tensors))

    @cached_property
    def numel(self) -> int:
        """Number of generated numbers ``P``."""
        return sum(tensor.numel for tensor in self.tensors)

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each tensor starts in the flat vector."""
        offsets, position = {}, 0
        for tensor in self.tensors:
            offsets[tensor.name] = position
            position += tensor.numel
        return offsets

    @cached_property
    def by_name(self) -> dict[str, TensorSpec]:
        """The tensors by name."""
        return {tensor.name: tensor for tensor in self.tensors}

    @cached_property
    def vectors(self) -> tuple[TensorSpec, ...]:
        """The tensors that are no layer's weight matrix: biases, gains, and all of a module's tensors."""
        matrices = {layer.weight for layer in self.layers}
        return tuple(tensor for tensor in self.tensors if tensor.name not in matrices)

    @cached_property
    def vector_slices(self) -> dict[str, slice]:
        """Where each of `vectors` lies when they are concatenated."""
        slices, position = {}, 0
        for tensor in self.vectors:
            slices[tensor.name] = slice(position, position + tensor.numel)
            position += tensor.numel
        return slices

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Concatenate named tensors ``[..., *shape]`` to ``[..., P]`` in the spec's order.

        Raises:
            ShapeError: If a tensor is missing, superfluous or of another shape, or leading dimensions differ.
        """
        if set(tensors) != set(self.by_name):
            raise ShapeError(f"expected exactly the tensors {sorted(self.by_name)}, got {sorted(tensors)}")
        flat = []
        for tensor in self.tensors:
            value = tensors[tensor.name]
            lead = value.dim() - len(tensor.shape)
            if lead < 0 or tuple(value.shape[lead:]) != tensor.shape:
                raise ShapeError(f"{tensor.name} must end in shape {tensor.shape}, got {tuple(value.shape)}")
            flat.append(value.reshape(*value.shape[:lead], tensor.numel))
        leading = {tuple(value.shape[:-1]) for value in flat}
        if len(leading) > 1:
            raise ShapeError(f"all tensors must have the same leading dimensions, got {sorted(leading)}")
        return torch.cat(flat, dim=-1)

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of ``[..., P]`` as named tensors ``[..., *shape]``; all leading dimensions are kept.

        Raises:
            ShapeError: If the last dimension is not ``P``.
        """
        if flat.dim() < 1 or flat.shape[-1] != self.numel:
            raise ShapeError(
                f"a flat weight vector must end in {self.numel} numbers, got {tuple(flat.shape)}"
            )
        views = {}
        for tensor in self.tensors:
            start = self.offsets[tensor.name]
            part = flat[..., start : start + tensor.numel]
            views[tensor.name] = part.reshape(*flat.shape[:-1], *tensor.shape)
        return views

    def init_flat(
        self,
        scheme: str | None = None,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Sample ``[P]`` weights as a plain network of this shape would be initialised.

        Args:
            scheme: Name of the initialiser; the spec's own by default.
            generator: Source of randomness; torch's global one by default.
            dtype: Of the result; torch's default by default.

        Raises:
            UnknownNameError: If the scheme is unknown.
        """
        name = scheme or self.init
        if name not in TARGET_INITS:
            raise unknown_name("target initialiser", name, TARGET_INITS)
        values: dict[str, Tensor] = {}
        for tensor in self.tensors:
            value = torch.empty(tensor.shape, dtype=dtype)
            if tensor.role == "weight":
                sample_weight(value, name, tensor.init_gain, generator)
            elif tensor.role == "bias":
                sample_bias(value, name, tensor.fan_in, tensor.init_gain, generator)
            else:
                value.fill_(1.0)
            values[tensor.name] = value
        return self.flatten(values)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs per output and outputs of a weight ``[out, in, *kernel]``."""
    fan_out = shape[0] if shape else 1
    return (max(1, prod(shape[1:])) if len(shape) > 1 else fan_out), fan_out
