"""Decoding of features into weights where every layer needs another part of the decoder.

A decoder is one matrix or several with one column for each number that they can give. A narrow layer needs
few of the columns. They are cut into blocks such that a layer needs a block as a whole or not at all: each is
multiplied once, with the features of those layers that need it, and its gradient is written once, in place.
Slicing instead would make a gradient as large as the whole matrix for every slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from hyperrl.nets.architectures.layout import on_device

_Numbers = NDArray[np.int64]

# More blocks than this cost more in calls than they save in multiplications.
_MOST_EDGES = 12


@dataclass(frozen=True)
class Block:
    """Columns of a decoder that the same layers need.

    Attributes:
        matrix: The number of the matrix; the blocks of one are in the order of their columns.
        first: The first column.
        last: The column behind the last.
        layers: The layers that need them, ``[n]``.
        start: Where the results, ``[n, last - first]``, begin among those of all blocks.
    """

    matrix: int
    first: int
    last: int
    layers: Tensor
    start: int

    @property
    def stop(self) -> int:
        """Where the results end."""
        return self.start + len(self.layers) * (self.last - self.first)

    def of(self, results: Tensor) -> Tensor:
        """Return its part of the results of all blocks, ``[n, last - first]``."""
        return results[self.start : self.stop].view(len(self.layers), -1)


def edges_of(sizes: Sequence[int] | _Numbers) -> _Numbers:
    """Return where to cut the range up to the largest of several sizes, 0 and the largest included.

    At every size, or where that would be too many cuts at some of them, spread evenly in their order.

    Args:
        sizes: At least one size.
    """
    different = np.unique(np.asarray(sizes, np.int64))
    if len(different) >= _MOST_EDGES:
        different = different[np.linspace(0, len(different) - 1, _MOST_EDGES).round().astype(np.int64)]
    return np.concatenate([[0], different])


def decode(
    features: Tensor, blocks: Sequence[Block], matrices: Sequence[Tensor], bias: Tensor | None = None
) -> Tensor:
    """Multiply features by the columns of a decoder that each layer needs.

    Args:
        features: ``[L, k]``, one row for each layer.
        blocks: What each layer needs.
        matrices: The decoder, ``[k, N]`` each.
        bias: What is added to the results of each column, those of the first matrix first, ``[sum of N]``.

    Returns:
        The results of all blocks, one after the other.
    """
    result: Tensor = _Decode.apply(features, blocks, bias, *matrices)  # type: ignore[no-untyped-call]
    return result


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, blocks: Sequence[Block], bias: Tensor | None, *matrices: Tensor
    ) -> Tensor:
        ctx.save_for_backward(features, *matrices)
        ctx.blocks, ctx.biased = blocks, bias is not None
        results = features.new_empty(blocks[-1].stop)
        begins = _begins(matrices)
        for block in blocks:
            chosen, out = features.index_select(0, block.layers), block.of(results)
            columns = matrices[block.matrix][:, block.first : block.last]
            if bias is None:
                torch.mm(chosen, columns, out=out)
            else:
                begin = begins[block.matrix]
                torch.addmm(bias[begin + block.first : begin + block.last], chosen, columns, out=out)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, *matrices = ctx.saved_tensors
        gradient = gradient.contiguous()
        begins = _begins(matrices)
        to_features = torch.zeros_like(features)
        to_bias = features.new_zeros(begins[-1]) if ctx.biased else None
        to_matrices = [torch.empty_like(matrix) for matrix in matrices]
        reached = [0] * len(matrices)
        for block in ctx.blocks:
            part, number, begin = block.of(gradient), block.matrix, begins[block.matrix]
            columns = slice(block.first, block.last)
            to_features.index_add_(0, block.layers, part @ matrices[number][:, columns].t())
            chosen = features.index_select(0, block.layers)
            torch.mm(chosen.t(), part, out=to_matrices[number][:, columns])
            if to_bias is not None:
                torch.sum(part, 0, out=to_bias[begin + block.first : begin + block.last])
            to_matrices[number][:, reached[number] : block.first].zero_()
            reached[number] = block.last
        for end, matrix in zip(reached, to_matrices, strict=True):
            matrix[:, end:].zero_()
        return to_features, None, to_bias, *to_matrices


def _begins(matrices: Sequence[Tensor]) -> list[int]:
    """Return how many columns come before each matrix, and how many there are."""
    return [0, *accumulate(matrix.shape[1] for matrix in matrices)]


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return chosen rows, each of which is chosen once at most: the gradient is written, not added up.

    Args:
        values: ``[n, ...]``.
        index: ``[m]``, all different.
    """
    result: Tensor = _Take.apply(values, index)  # type: ignore[no-untyped-call]
    return result


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = values.shape
        return values.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        whole = len(index) == ctx.shape[0]
        result = gradient.new_empty(ctx.shape) if whole else gradient.new_zeros(ctx.shape)
        if gradient.dim() == 1:
            return result.scatter_(0, index, gradient), None
        return result.index_copy_(0, index, gradient), None


@dataclass(frozen=True)
class Strips:
    """The first units of a decoder that each layer needs, as `Block`s and how to put them in order.

    Attributes:
        blocks: For `decode`, in columns of the matrix.
        order: Where the units of the first layer lie in the results, then those of the second, and so on, in
            units, ``[sum of counts]``.
    """

    blocks: tuple[Block, ...]
    order: Tensor


def strips(
    edges: Sequence[_Numbers],
    vocabulary: _Numbers,
    counts: _Numbers,
    per_unit: int,
    device: torch.device,
) -> Strips:
    """Plan which of a decoder's units each layer needs: always the first ones of one of its vocabularies.

    Args:
        edges: Where each vocabulary is cut, from 0; the vocabularies follow each other in the decoder.
        vocabulary: The vocabulary of each layer, ``[L]``.
        counts: How many units it needs, ``[L]``.
        per_unit: Columns of the matrix for a unit.
        device: Where the plan is needed.
    """
    blocks: list[Block] = []
    # Where the units of each vocabulary's every segment begin in the results, by segment and layer.
    starts = np.cumsum([0, *(int(one[-1]) for one in edges)])
    positions = np.zeros((max(len(one) for one in edges), len(counts)), np.int64)
    reached = 0
    for number, cuts in enumerate(edges):
        for segment, (low, high) in enumerate(pairwise(cuts.tolist())):
            layers = np.flatnonzero((vocabulary == number) & (counts > low))
            if not len(layers):
                break
            first, last = int(starts[number]) + low, int(starts[number]) + high
            positions[segment, layers] = reached + np.arange(len(layers)) * (high - low)
            blocks.append(
                Block(0, first * per_unit, last * per_unit, on_device(layers, device), reached * per_unit)
            )
            reached += len(layers) * (high - low)
    layer = np.repeat(np.arange(len(counts)), counts)
    unit = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.empty_like(unit)
    for number, cuts in enumerate(edges):
        mine = vocabulary[layer] == number
        segment = np.searchsorted(cuts, unit[mine], side="right") - 1
        order[mine] = positions[segment, layer[mine]] + unit[mine] - cuts[segment]
    return Strips(tuple(blocks), on_device(order, device))
