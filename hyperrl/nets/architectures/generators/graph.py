"""The graph hypernetwork as published: a chain of nodes, a gated graph network, one large decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hyperrl.nets.architectures.generators.attention import Affine
from hyperrl.nets.architectures.generators.base import WeightGenerator
from hyperrl.nets.architectures.generators.decoding import Block, decode, edges_of, take
from hyperrl.nets.architectures.generators.plans import Plans
from hyperrl.nets.architectures.layout import LayerTable, Layout, on_device, positions_of_blocks
from hyperrl.nets.architectures.space import ArchitectureSpace
from hyperrl.ranges import whole

_Numbers = NDArray[np.int64]
_HIDDEN = 16
_FEATURES = 128
_BIAS_SLOPE = 0.2


@dataclass(frozen=True)
class _Plan:
    """What one layout needs.

    Attributes:
        sizes: The feature of each node, ``[N, M, 1]``; what is behind a graph's last node is never read.
        followed: 1 where another node of the graph comes behind, else 0, ``[N, M, 1]``.
        weights: Which node of the ``N M`` each layer's weight is decoded from, ``[L]``.
        biases: Which one its bias is, ``[L]``.
        outputs: Which layers are output layers, ``[M]``.
        blocks: What is needed of the decoder of weights.
        source: Where each number of the flat vector lies in what is decoded, ``[total]``.
        repeated: Whether some are used more than once.
        scale: What each is multiplied by, ``[total]``.
    """

    sizes: Tensor
    followed: Tensor
    weights: Tensor
    biases: Tensor
    outputs: Tensor
    blocks: tuple[Block, ...]
    source: Tensor
    repeated: bool
    scale: Tensor


class GraphGenerator(WeightGenerator):
    """The generator of HyperPPO (Hegde et al., ICRA 2024), number for number, with none of its waste.

    A network is a chain of nodes: its input, then each layer's weight and bias. A node's feature is the
    layer's output size. One sweep forward and one backward of a gated graph network (Zhang et al., "Graph
    HyperNetworks for Neural Architecture Search", ICLR 2019) tell the nodes of each other. A weight is the
    upper left corner of a decoded matrix, repeated where it is too small, scaled by the root of 2 over its
    input; a bias is ``tanh(b / 5)``.

    The decoder is cut into tiles at the sizes that layers have, each a parameter of its own, and only those
    are multiplied that a layer needs. `published_rows` says how they make up the published matrix.

    Args:
        space: The architectures.
        size: Most rows and columns that are decoded.
    """

    def __init__(self, space: ArchitectureSpace, size: int = 256) -> None:
        super().__init__(space)
        self.size = int(whole(1, 4096).check("size", size))
        self.encoder = Affine(1, _HIDDEN)
        self.message = nn.ModuleList([Affine(_HIDDEN, _HIDDEN), Affine(_HIDDEN, _HIDDEN)])
        # Reset, update and candidate of a gated recurrent unit.
        self.message_gate = Affine(_HIDDEN, 3 * _HIDDEN)
        self.state_gate = Affine(_HIDDEN, 3 * _HIDDEN)
        self.norm = nn.LayerNorm(_HIDDEN)
        self.expansion = nn.ModuleList([Affine(_HIDDEN, 64), Affine(64, _FEATURES)])
        self.bias_expansion = Affine(_HIDDEN, 32)
        self.bias_decoder = Affine(32, 2 * self.size)
        self.last_bias = Affine(self.size, 2 * space.outputs)
        widths = {width for architecture in space.architectures for width in architecture}
        self._rows = self._edges(widths | {space.outputs})
        self._columns = self._edges(widths | {space.inputs})
        bound = 1 / math.sqrt(_FEATURES)
        sizes = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in self._tiles()]
        self.tiles = nn.ParameterList(
            nn.Parameter(torch.empty(_FEATURES, size).uniform_(-bound, bound)) for size in sizes
        )
        self.tile_biases = nn.Parameter(torch.empty(sum(sizes)).uniform_(-bound, bound))
        self._plans: Plans[_Plan] = Plans()
        _keep_freed_memory()

    def forward(self, layout: Layout) -> Tensor:
        """Generate; see `WeightGenerator.forward`.

        Args:
            layout: The architectures.
        """
        plan = self._plans.get(layout, self.device, self._plan)
        states = self.norm(self._propagate(plan)).flatten(0, 1)
        features = states.index_select(0, plan.weights)
        for layer in self.expansion:
            features = torch.relu(layer(features))
        weights = decode(features, plan.blocks, list(self.tiles), self.tile_biases)
        biases, last = self._biases(states.index_select(0, plan.biases), plan)
        decoded = torch.cat([weights, biases.flatten(), last.flatten()])
        chosen = decoded.index_select(0, plan.source) if plan.repeated else take(decoded, plan.source)
        return chosen * plan.scale.to(chosen.dtype)

    def published_rows(self) -> _Numbers:
        """Return which row of the published decoder, ``size * out + in``, each column of the tiles is."""
        numbers = np.arange(self.size * self.size).reshape(self.size, self.size)
        return np.concatenate([numbers[tile].ravel() for tile in self._tiles()])

    def _propagate(self, plan: _Plan) -> Tensor:
        """Return the states of all nodes, ``[N, M, 16]``."""
        first, second = self.message
        states = list(self.encoder(plan.sizes.to(self.tile_biases.dtype)).unbind())
        followed = plan.followed.to(self.tile_biases.dtype)
        count = len(states)
        for direction, order in ((-1, range(count)), (1, reversed(range(count)))):
            # What a gate takes from a node's own state does not wait for the neighbour.
            gates = self.state_gate(torch.stack(states)).unbind()
            for node in order:
                neighbour = node + direction
                if not 0 <= neighbour < count:
                    message = torch.zeros_like(states[node])
                else:
                    message = torch.relu(second(torch.relu(first(states[neighbour]))))
                    if direction == 1:
                        message = message * followed[node]
                states[node] = _gated(self.message_gate(message), gates[node], states[node])
        return torch.stack(states)

    def _biases(self, states: Tensor, plan: _Plan) -> tuple[Tensor, Tensor]:
        """Return the biases, ``[L, size]``, and those of the output layers, ``[M, outputs]``."""
        hidden = torch.relu(self.bias_expansion(states))
        # The other half of the decoder is for normalisations, which these networks do not have.
        half = self.bias_decoder.weight[self.size :], self.bias_decoder.bias[self.size :]
        biases = functional.linear(hidden, *half)
        count = self.space.outputs
        half = self.last_bias.weight[:count], self.last_bias.bias[:count]
        last = functional.linear(torch.relu(biases.index_select(0, plan.outputs)), *half)
        return torch.tanh(_BIAS_SLOPE * biases), torch.tanh(_BIAS_SLOPE * last)

    def _edges(self, sizes: set[int]) -> _Numbers:
        """Return where an axis of the decoder is cut, from 0 to its end."""
        return edges_of([*(min(size, self.size) for size in sizes), self.size])

    def _tiles(self) -> list[tuple[slice, slice]]:
        pairs = product(pairwise(self._rows.tolist()), pairwise(self._columns.tolist()))
        return [(slice(*rows), slice(*columns)) for rows, columns in pairs]

    def _plan(self, layout: Layout, device: torch.device) -> _Plan:
        table = layout.layers
        count, longest = len(layout), 1 + 2 * int(np.bincount(table.owner).max())
        sizes, followed = np.zeros((2, longest, count, 1))
        for node in (1, 2):
            sizes[node + 2 * table.position, table.owner] = table.fan_out[:, None]
            # The nodes before a layer's own have something behind them.
            followed[2 * table.position + node - 1, table.owner] = 1.0
        weight = (1 + 2 * table.position) * count + table.owner
        source = np.empty(layout.total, np.int64)
        blocks, decoded = self._weights(layout, source, device)
        self._place_biases(table, source, decoded)
        sizes_of_parts = np.stack([table.fan_in * table.fan_out, table.fan_out], 1).ravel()
        scales = np.stack([np.sqrt(2 / table.fan_in), np.ones(len(table))], 1).ravel()
        largest = max(int(table.fan_in.max()), int(table.fan_out.max()))
        return _Plan(
            torch.from_numpy(sizes).to(device),
            torch.from_numpy(followed).to(device),
            on_device(weight, device),
            on_device(weight + count, device),
            on_device(np.flatnonzero(table.remaining == 0), device),
            blocks,
            on_device(source, device),
            largest > self.size,
            torch.from_numpy(np.repeat(scales, sizes_of_parts)).to(device),
        )

    def _weights(
        self, layout: Layout, source: _Numbers, device: torch.device
    ) -> tuple[tuple[Block, ...], int]:
        """Plan the decoding of the weights and note where each lies; return how many numbers that gives."""
        table = layout.layers
        blocks: list[Block] = []
        places: list[tuple[_Numbers, ...]] = []
        start = 0
        for number, (rows, columns) in enumerate(self._tiles()):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            members = np.flatnonzero((table.fan_out > rows.start) & (table.fan_in > columns.start))
            if len(members):
                blocks.append(Block(number, 0, height * width, on_device(members, device), start))
                offsets = start + np.arange(len(members)) * height * width
                fan_out, fan_in = table.fan_out[members], table.fan_in[members]
                # A layer larger than the decoder has each tile several times.
                repeats = product(
                    range(rows.start, int(fan_out.max()), self.size),
                    range(columns.start, int(fan_in.max()), self.size),
                )
                for top, left in repeats:
                    heights, widths = (fan_out - top).clip(0, height), (fan_in - left).clip(0, width)
                    begins = table.weight_offset[members] + top * fan_in + left
                    places.append((begins, heights, widths, fan_in, offsets, np.full_like(fan_in, width)))
                start = blocks[-1].stop
        begins, heights, widths, strides, offsets, steps = (
            np.concatenate(column) for column in zip(*places, strict=True)
        )
        there = (heights > 0) & (widths > 0)
        heights, widths = heights[there], widths[there]
        source[positions_of_blocks(begins[there], heights, widths, strides[there])] = positions_of_blocks(
            offsets[there], heights, widths, steps[there]
        )
        return tuple(blocks), start

    def _place_biases(self, table: LayerTable, source: _Numbers, start: int) -> None:
        """Note where each bias lies, behind so many decoded weights."""
        last = table.remaining == 0
        layer = np.repeat(np.arange(len(table)), table.fan_out)
        unit = np.arange(len(layer)) - np.repeat(np.cumsum(table.fan_out) - table.fan_out, table.fan_out)
        hidden = start + layer * self.size + unit % self.size
        output = start + len(table) * self.size + table.owner[layer] * self.space.outputs + unit
        source[table.bias_offset[layer] + unit] = np.where(last[layer], output, hidden)


def _gated(message: Tensor, gate: Tensor, state: Tensor) -> Tensor:
    """Return the new state of a gated recurrent unit (Cho et al., EMNLP 2014), as `torch.nn.GRUCell` has it.

    Args:
        message: What comes in, multiplied: reset, update and candidate, ``[M, 3 h]``.
        gate: The state, multiplied in the same way.
        state: ``[M, h]``.
    """
    size = state.shape[-1]
    reset, update = torch.sigmoid(message[:, : 2 * size] + gate[:, : 2 * size]).chunk(2, -1)
    candidate = torch.tanh(torch.addcmul(message[:, 2 * size :], reset, gate[:, 2 * size :]))
    return torch.lerp(candidate, state, update)


def _keep_freed_memory() -> None:
    """Let the gradients of the tiles be written into memory that is used again.

    By default glibc gives large blocks back to the system as soon as they are free, and mapping pages anew in
    every step takes longer than the step's arithmetic. Once a block of nearly 32 MiB has been freed it keeps
    all that are smaller (M_MMAP_THRESHOLD in mallopt(3)); elsewhere this does nothing.
    """
    torch.empty(31 << 20, dtype=torch.uint8)
