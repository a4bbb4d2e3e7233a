"""Many small networks of different shapes applied at once: padded to common shapes, multiplied in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hyperrl.errors import ShapeError, unknown_name
from hyperrl.nets.architectures.kernels import GROUPINGS, KERNELS, Group, kernel_for
from hyperrl.nets.architectures.layout import Layout, on_device

__all__ = ["ACTIVATIONS", "KERNELS", "PackedWeights", "Packing", "kernel_for"]

_Numbers = NDArray[np.int64]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}
"""The hidden activations that packed networks can have."""


class Packing:
    """A plan for applying the networks of a layout, made once and used for as long as their shapes stay.

    Shorter networks are padded by layers that are the identity, narrower ones by neurons that give zero, so
    that the results are those of the networks one by one, up to rounding.

    Args:
        layout: The networks.
        kernel: ``"padded"`` pads all of them to one shape, ``"buckets"`` those that have as many layers and
            the same largest width, ``"loop"`` takes one after the other.
        activation: Hidden activation, one of `ACTIVATIONS`.
        device: Where the weights will be.

    Raises:
        UnknownNameError: There is no such kernel or activation.
    """

    def __init__(
        self,
        layout: Layout,
        kernel: str = "padded",
        activation: str = "relu",
        device: torch.device | str = "cpu",
    ) -> None:
        if kernel not in GROUPINGS:
            raise unknown_name("kernel", kernel, GROUPINGS)
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        self.layout = layout
        self.kernel = kernel
        self.activation = activation
        self._groups = GROUPINGS[kernel](layout.architectures)
        self._to(torch.device(device))

    def pack(self, flat: Tensor) -> PackedWeights:
        """Pad the weights.

        Args:
            flat: The weights ``[total]`` in the order of the layout.

        Raises:
            ShapeError: The vector has another length.
        """
        if flat.shape != (self.layout.total,):
            raise ShapeError(
                f"expected the {self.layout.total} weights of the layout, got shape {tuple(flat.shape)}"
            )
        if self._unpadded:
            return PackedWeights(self, flat)
        padded: Tensor = _Pad.apply(flat, self._source, self._destination)  # type: ignore[no-untyped-call]
        return PackedWeights(self, padded)

    def _to(self, device: torch.device) -> None:
        layout, space = self.layout, self.layout.space
        zero, one = layout.total, layout.total + 1
        first_layer = np.concatenate([[0], np.cumsum([len(a) + 1 for a in layout.architectures])])
        sources: list[_Numbers] = []
        self._shapes: list[list[tuple[int, int, int]]] = []
        for group in self._groups:
            sizes = (space.inputs, *group.widths, space.outputs)
            shapes = []
            for position in range(len(sizes) - 1):
                fan_in, fan_out = sizes[position], sizes[position + 1]
                weight = np.full((len(group.members), fan_out, fan_in), zero)
                bias = np.full((len(group.members), fan_out), zero)
                for row, member in enumerate(group.members):
                    layer = self._layer(member, position, len(group.widths))
                    if layer is None:
                        np.fill_diagonal(weight[row], one)
                        continue
                    index = int(first_layer[member]) + layer
                    _fill(layout, index, weight[row], bias[row])
                sources += [weight.ravel(), bias.ravel()]
                shapes.append((len(group.members), fan_out, fan_in))
            self._shapes.append(shapes)
        source = np.concatenate(sources)
        # One after the other, networks lie in the packed vector as they do in the flat one.
        self._unpadded = np.array_equal(source, np.arange(layout.total))
        filled = np.flatnonzero(source < layout.total)
        destination = np.empty(layout.total, np.int64)
        destination[source[filled]] = filled
        self._source, self._destination = on_device(source, device), on_device(destination, device)
        order = np.concatenate([group.members for group in self._groups])
        self._members = [on_device(np.array(group.members), device) for group in self._groups]
        self._back = on_device(np.argsort(order), device)
        self._whole = len(self._groups) == 1
        self._active = [self._active_layers(group, device) for group in self._groups]

    def _layer(self, member: int, position: int, depth: int) -> int | None:
        """Return which of its own layers a network has at a place, or None where it is only handed on."""
        own = len(self.layout.architectures[member])
        if position < own:
            return position
        return own if position == depth else None

    def _active_layers(self, group: Group, device: torch.device) -> list[Tensor | None]:
        """Say which networks have a layer of their own at each hidden place, None where all have."""
        own = np.array([len(self.layout.architectures[member]) for member in group.members])
        masks = [own > position for position in range(len(group.widths))]
        # What a ReLU has given another one leaves alone.
        idle = self.activation == "relu"
        return [
            None if idle or mask.all() else torch.from_numpy(mask[:, None, None]).to(device) for mask in masks
        ]


class PackedWeights:
    """Weights in the shapes of a `Packing`, to be applied as often as they hold.

    Args:
        packing: The plan.
        padded: All padded tensors in one vector.
    """

    def __init__(self, packing: Packing, padded: Tensor) -> None:
        self._packing = packing
        sizes = [part for s in packing._shapes for g, o, i in s for part in (g * o * i, g * o)]
        parts = iter(padded.split(sizes))
        self._layers: list[list[tuple[Tensor, Tensor]]] = []
        for shapes in packing._shapes:
            layers = []
            for count, fan_out, fan_in in shapes:
                weight, bias = next(parts), next(parts)
                if count == 1:
                    layers.append((weight.view(fan_out, fan_in), bias))
                    continue
                weight = weight.view(count, fan_out, fan_in).transpose(1, 2)
                layers.append((weight, bias.view(count, 1, fan_out)))
            self._layers.append(layers)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply each network to rows of its own.

        Args:
            x: ``[M, B, inputs]``, B rows for each network.

        Returns:
            ``[M, B, outputs]``.

        Raises:
            ShapeError: There are not rows for each network, or they have another size.
        """
        packing = self._packing
        inputs = packing.layout.space.inputs
        if x.dim() != 3 or x.shape[0] != len(packing.layout) or x.shape[2] != inputs:
            raise ShapeError(
                f"expected an input of shape ({len(packing.layout)}, rows, {inputs}), got {tuple(x.shape)}"
            )
        if packing._unpadded:
            rows = x.unbind()
            return torch.stack([self._apply_one(i, h) for i, h in enumerate(rows)])
        if packing._whole:
            return self._apply(0, x)
        outputs = [self._apply(i, x[members]) for i, members in enumerate(packing._members)]
        return torch.cat(outputs)[packing._back]

    def _apply_one(self, group: int, h: Tensor) -> Tensor:
        """Apply the one network of a group to its rows, ``[B, inputs]``."""
        layers = self._layers[group]
        activation = ACTIVATIONS[self._packing.activation]
        for weight, bias in layers[:-1]:
            h = activation(functional.linear(h, weight, bias))
        return functional.linear(h, *layers[-1])

    def _apply(self, group: int, h: Tensor) -> Tensor:
        """Apply the networks of a group to rows of their own, ``[g, B, inputs]``."""
        if len(h) == 1:
            return self._apply_one(group, h[0])[None]
        layers, active = self._layers[group], self._packing._active[group]
        activation = ACTIVATIONS[self._packing.activation]
        for (weight, bias), mask in zip(layers[:-1], active, strict=True):
            z = torch.baddbmm(bias, h, weight)
            h = activation(z) if mask is None else torch.where(mask, activation(z), z)
        weight, bias = layers[-1]
        return torch.baddbmm(bias, h, weight)


def _fill(layout: Layout, layer: int, weight: _Numbers, bias: _Numbers) -> None:
    """Write into the corner of a padded layer where its weight and bias come from."""
    table = layout.layers
    fan_in, fan_out = table.fan_in[layer], table.fan_out[layer]
    start = table.weight_offset[layer]
    weight[:fan_out, :fan_in] = np.arange(start, start + fan_in * fan_out).reshape(fan_out, fan_in)
    bias[:fan_out] = table.bias_offset[layer] + np.arange(fan_out)


class _Pad(torch.autograd.Function):
    """Spread a vector over padded tensors; each element goes to one place, so both ways are gathers."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, source: Tensor, destination: Tensor) -> Tensor:
        ctx.save_for_backward(source, destination)
        constants = torch.tensor([0.0, 1.0], dtype=flat.dtype, device=flat.device)
        return torch.cat([flat, constants]).index_select(0, source)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient: Tensor = _Gather.apply(gradients[0], *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return gradient, None, None


class _Gather(torch.autograd.Function):
    """The way back from padded tensors to the vector."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, source: Tensor, destination: Tensor) -> Tensor:
        ctx.save_for_backward(source, destination)
        return padded.index_select(0, destination)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        source, _ = ctx.saved_tensors
        flat = gradients[0]
        spread = torch.cat([flat, flat.new_zeros(2)]).index_select(0, source)
        return spread, None, None
