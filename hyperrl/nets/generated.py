"""Generated weights, in whichever form applies them most cheaply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hyperrl.errors import ConfigError, ShapeError
from hyperrl.nets.spec import TargetSpec


@dataclass(frozen=True)
class GeneratedWeight:
    """One layer's weight matrix, transposed to ``[in, out]`` and possibly factored.

    The matrix is ``(base + sum_k coefficients[..., k] * bank[k] + left @ right) * scale``; absent parts
    are None.

    Attributes:
        base: ``[in, out]`` shared by all conditions, or ``[*batch, in, out]``.
        bank: ``[K, in, out]`` templates.
        coefficients: ``[*batch, K]``.
        left: ``[*batch, in, r]`` low-rank factor.
        right: ``[*batch, r, out]`` low-rank factor.
        scale: ``[*batch, out]`` factor on each output's weights (FiLM).

    Raises:
        ConfigError: If no part makes a matrix, or half of a pair is missing.
    """

    base: Tensor | None = None
    bank: Tensor | None = None
    coefficients: Tensor | None = None
    left: Tensor | None = None
    right: Tensor | None = None
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse combinations that make no matrix."""
        if (self.bank is None) != (self.coefficients is None) or (self.left is None) != (self.right is None):
            raise ConfigError("a template bank needs coefficients, and a left factor needs a right one")
        if self.base is None and self.bank is None and self.left is None:
            raise ConfigError("a generated weight needs a base, a template bank or low-rank factors")

    def dense(self) -> Tensor:
        """Form the matrix ``[*batch, in, out]``, or ``[in, out]`` if it is shared."""
        parts = [self.base] if self.base is not None else []
        if self.bank is not None and self.coefficients is not None:
            k, fan_in, fan_out = self.bank.shape
            flat = self.coefficients @ self.bank.reshape(k, fan_in * fan_out)
            parts.append(flat.unflatten(-1, (fan_in, fan_out)))
        if self.left is not None and self.right is not None:
            parts.append(self.left @ self.right)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total if self.scale is None else total * self.scale.unsqueeze(-2)

    def map(self, function: Callable[[Tensor], Tensor], *, batch_only: bool = False) -> GeneratedWeight:
        """Apply a function to every tensor, or to those with batch dimensions only."""
        base_is_shared = self.base is not None and self.base.dim() == 2
        shared = {"bank"} | ({"base"} if base_is_shared else set())
        changes = {}
        for name in ("base", "bank", "coefficients", "left", "right", "scale"):
            value = getattr(self, name)
            if value is not None and not (batch_only and name in shared):
                changes[name] = function(value)
        return replace(self, **changes)


@dataclass(frozen=True)
class Generated:
    """All weights of a target network for a batch of conditions.

    Attributes:
        spec: The target.
        batch_shape: Leading dimensions of the conditions that made it.
        weights: One entry per dense layer of the spec.
        vectors: ``[*batch, V]`` or ``[V]``: biases, gains and whatever is no layer's matrix, concatenated.
    """

    spec: TargetSpec
    batch_shape: torch.Size
    weights: tuple[GeneratedWeight, ...]
    vectors: Tensor

    @classmethod
    def from_flat(cls, spec: TargetSpec, theta: Tensor) -> Generated:
        """Wrap flat weights ``[*batch, P]``.

        Raises:
            ShapeError: If the last dimension is not ``P``.
        """
        named = spec.unflatten(theta)
        batch = theta.shape[:-1]
        weights = tuple(GeneratedWeight(named[layer.weight].transpose(-1, -2)) for layer in spec.layers)
        if spec.vectors:
            vectors = torch.cat([named[t.name].reshape(*batch, t.numel) for t in spec.vectors], dim=-1)
        else:
            vectors = theta.new_zeros(0)
        return cls(spec, batch, weights, vectors)

    def vector(self, name: str) -> Tensor:
        """A bias, a gain or another tensor ``[*batch or nothing, *shape]``."""
        tensor = self.spec.by_name[name]
        part = self.vectors[..., self.spec.vector_slices[name]]
        return part if len(tensor.shape) == 1 else part.reshape(*part.shape[:-1], *tensor.shape)

    def as_dict(self) -> dict[str, Tensor]:
        """Named tensors ``[*batch, *shape]``, weights as ``(out, in)``; every batch dimension is expanded."""
        named = {tensor.name: self.vector(tensor.name) for tensor in self.spec.vectors}
        for layer, weight in zip(self.spec.layers, self.weights, strict=True):
            named[layer.weight] = weight.dense().transpose(-1, -2)
        return {t.name: named[t.name].expand(*self.batch_shape, *t.shape) for t in self.spec.tensors}

    def materialise(self) -> Tensor:
        """Flat weights ``[*batch, P]``."""
        return self.spec.flatten(self.as_dict())

    def detach(self) -> Generated:
        """The same weights cut off from the graph, shared tensors included."""
        weights = tuple(weight.map(torch.Tensor.detach) for weight in self.weights)
        return replace(self, weights=weights, vectors=self.vectors.detach())

    def index(self, ids: Tensor) -> Generated:
        """Pick conditions along the first batch dimension: ``ids [*shape]`` gives ``[*shape, ...]``.

        Raises:
            ShapeError: If there is no batch dimension.
        """
        if not self.batch_shape:
            raise ShapeError("weights generated for a single condition have no batch dimension to index")
        weights = tuple(w.map(lambda value: value[ids], batch_only=True) for w in self.weights)
        vectors = self.vectors[ids] if self.vectors.dim() > 1 else self.vectors
        shape = torch.Size((*ids.shape, *self.batch_shape[1:]))
        return replace(self, batch_shape=shape, weights=weights, vectors=vectors)
