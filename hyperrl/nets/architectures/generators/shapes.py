"""The layers of a layout in the order of their shapes, so that those of one shape are worked on together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperrl.nets.architectures.layout import LayerTable, Layout, on_device, positions_of_blocks

_Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """Consecutive layers of one shape.

    Attributes:
        count: How many there are.
        fan_out: Rows of each.
        fan_in: Columns of each.
        row: Where the rows of the first lie among those of all layers.
        column: Where its columns lie among those of all layers.
        start: Where its weight begins among those of all layers.
        last: Whether they are output layers.
        scale: The root of 2 over the input, of 1 over it in output layers, which no ReLU follows.
    """

    count: int
    fan_out: int
    fan_in: int
    row: int
    column: int
    start: int
    last: bool
    scale: float

    def rows(self, values: Tensor) -> Tensor:
        """Return their part of what belongs to rows, ``[count, fan_out, k]``."""
        part = values[self.row : self.row + self.count * self.fan_out]
        return part.view(self.count, self.fan_out, -1)

    def columns(self, values: Tensor) -> Tensor:
        """Return their part of what belongs to columns, ``[count, fan_in, k]``."""
        part = values[self.column : self.column + self.count * self.fan_in]
        return part.view(self.count, self.fan_in, -1)

    def weights(self, values: Tensor) -> Tensor:
        """Return their part of the weights, ``[count, fan_out, fan_in]``."""
        part = values[self.start : self.start + self.count * self.fan_out * self.fan_in]
        return part.view(self.count, self.fan_out, self.fan_in)


class Shapes:
    """The layers of a layout, input layers together, output layers together, others together, each by shape.

    Args:
        layout: The architectures.
        device: Where the plan is needed.

    Attributes:
        order: The number of each layer in the layout, ``[L]``.
        first: Whether it is an input layer, ``[L]``.
        last: Whether it is an output layer, ``[L]``.
        fan_in: Size of its input, ``[L]``.
        fan_out: Size of its output, ``[L]``.
        groups: Layers of equal shape.
        back: Where each number of the flat vector lies behind all weights and then all biases in this order.
    """

    def __init__(self, layout: Layout, device: torch.device) -> None:
        table = layout.layers
        first, last = table.position == 0, table.remaining == 0
        self.order: _Numbers = np.lexsort([table.fan_in, table.fan_out, first, last])
        self.first, self.last = first[self.order], last[self.order]
        self.fan_in, self.fan_out = table.fan_in[self.order], table.fan_out[self.order]
        self.groups = tuple(self._groups())
        self.back = on_device(_back(table, self.order, layout.total), device)

    def _groups(self) -> list[Shape]:
        keys = np.stack([self.first, self.last, self.fan_out, self.fan_in], 1)
        begins = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]).any(1)])).tolist()
        ends = [*begins[1:], len(keys)]
        sizes = self.fan_out, self.fan_in, self.fan_out * self.fan_in
        rows, columns, starts = (np.cumsum(size) - size for size in sizes)
        groups = []
        for begin, end in zip(begins, ends, strict=True):
            into = int(self.fan_in[begin])
            last = bool(self.last[begin])
            places = int(rows[begin]), int(columns[begin]), int(starts[begin])
            scale = math.sqrt((1 if last else 2) / into)
            groups.append(Shape(end - begin, int(self.fan_out[begin]), into, *places, last, scale))
        return groups


def _back(table: LayerTable, order: _Numbers, total: int) -> _Numbers:
    counts = table.fan_out[order]
    sizes, ones = counts * table.fan_in[order], np.ones_like(counts)
    places = [
        positions_of_blocks(table.weight_offset[order], ones, sizes, ones),
        positions_of_blocks(table.bias_offset[order], ones, counts, ones),
    ]
    back = np.empty(total, np.int64)
    back[np.concatenate(places)] = np.arange(total)
    return back
