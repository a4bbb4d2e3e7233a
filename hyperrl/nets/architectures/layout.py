"""Where every weight of several architectures lies in one flat vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperrl.nets.architectures.space import Architecture, ArchitectureSpace

_Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class LayerTable:
    """One row for each layer of each architecture, those of the first architecture first.

    Attributes:
        owner: Which of the architectures it belongs to, ``[L]``.
        position: Its place counted from the input, from 0, ``[L]``.
        remaining: How many layers come after it, 0 for the output layer, ``[L]``.
        fan_in: Size of its input, ``[L]``.
        fan_out: Size of its output, ``[L]``.
        weight_offset: Where its weight begins in the flat vector, ``[L]``.
        bias_offset: Where its bias begins in the flat vector, ``[L]``.
    """

    owner: _Numbers
    position: _Numbers
    remaining: _Numbers
    fan_in: _Numbers
    fan_out: _Numbers
    weight_offset: _Numbers
    bias_offset: _Numbers

    def __len__(self) -> int:
        return len(self.owner)


class Layout:
    """The flat vector of the weights of several architectures.

    The architectures come one after the other, the layers of each from the input to the output, of each the
    weight ``[out, in]`` row by row and then the bias ``[out]``. For one architecture it is the order in which
    `torch.nn.utils.parameters_to_vector` reads an `nn.Sequential` of `nn.Linear`.

    Args:
        space: The space that the architectures are of.
        numbers: Their numbers in the space, ``[M]``; one may be there several times.

    Attributes:
        space: As given.
        numbers: As given.
        architectures: The hidden widths of each.
        layers: All layers of all of them.
        offsets: Where each begins in the vector, and where the last ends, ``[M + 1]``.
        total: Length of the vector.
    """

    def __init__(self, space: ArchitectureSpace, numbers: Sequence[int] | _Numbers) -> None:
        self.space = space
        self.numbers: _Numbers = np.asarray(numbers, np.int64)
        self.architectures: tuple[Architecture, ...] = tuple(space[int(number)] for number in self.numbers)
        rows: list[tuple[int, ...]] = []
        offsets = [0]
        for owner, architecture in enumerate(self.architectures):
            offset = offsets[-1]
            sizes = list(pairwise((space.inputs, *architecture, space.outputs)))
            for position, (fan_in, fan_out) in enumerate(sizes):
                remaining = len(sizes) - 1 - position
                bias = offset + fan_in * fan_out
                rows.append((owner, position, remaining, fan_in, fan_out, offset, bias))
                offset = bias + fan_out
            offsets.append(offset)
        table = np.array(rows, np.int64)
        self.layers = LayerTable(*(np.ascontiguousarray(column) for column in table.T))
        self.offsets: _Numbers = np.array(offsets, np.int64)
        self.total = int(self.offsets[-1])

    def __len__(self) -> int:
        return len(self.numbers)

    def split(self, flat: Tensor) -> list[list[tuple[Tensor, Tensor]]]:
        """Return the weights and biases of each architecture, as parts of the vector.

        Args:
            flat: ``[total]``.

        Returns:
            For each architecture, for each of its layers, the weight ``[out, in]`` and the bias ``[out]``.
        """
        table = self.layers
        parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.architectures]
        columns = table.owner, table.fan_in, table.fan_out, table.weight_offset, table.bias_offset
        for owner, fan_in, fan_out, weight, bias in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            parts[owner].append((flat[weight:bias].view(fan_out, fan_in), flat[bias : bias + fan_out]))
        return parts


def positions_of_blocks(
    offsets: _Numbers, heights: _Numbers, widths: _Numbers, strides: _Numbers
) -> _Numbers:
    """Return where the elements of rectangular blocks lie in a flat memory, block by block, row by row.

    Args:
        offsets: Where each block's first element lies, ``[N]``.
        heights: Rows of each, ``[N]``.
        widths: Columns of each, ``[N]``.
        strides: Distance between the rows of each, ``[N]``.

    Returns:
        ``[sum(heights * widths)]``.
    """
    sizes = heights * widths
    block = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = within // widths[block]
    columns = within - rows * widths[block]
    positions: _Numbers = offsets[block] + rows * strides[block] + columns
    return positions


def on_device(numbers: _Numbers, device: torch.device) -> Tensor:
    """Return numbers as a tensor of a device.

    Args:
        numbers: Whole numbers.
        device: Where they are needed.
    """
    return torch.from_numpy(np.ascontiguousarray(numbers)).to(device)
