"""The published graph hypernetwork written down plainly: what the generator `graph` must equal and outrun.

Hegde et al., "HyperPPO: A scalable method for finding small policies for robotic control", ICRA 2024. As in
the code published with it, decoders give all of their largest size, of which each layer takes a corner, the
large decoder is made of convolutions of one pixel, and every generated network is a module of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

Networks = list[list[tuple[Tensor, Tensor]]]
_HIDDEN = 16


class NaiveGraphGenerator(nn.Module):
    """A chain of nodes, one for the input and two for each layer, swept by a gated graph network.

    Args:
        inputs: Size of the networks' input.
        outputs: Size of their output.
        size: Largest number of rows and columns that are decoded.
        convolutions: Whether the decoder of weights has convolutions, as published, or dense layers, which
            compute the same and are faster.
    """

    def __init__(self, inputs: int, outputs: int, size: int = 256, convolutions: bool = True) -> None:
        super().__init__()
        self.inputs, self.outputs, self.size = inputs, outputs, size
        self.encoder = nn.Linear(1, _HIDDEN)
        self.message = nn.Sequential(
            nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU()
        )
        self.gate = nn.GRUCell(_HIDDEN, _HIDDEN)
        self.norm = nn.LayerNorm(_HIDDEN)
        self.expansion = nn.Sequential(nn.Linear(_HIDDEN, 64), nn.ReLU())
        self.weight_decoder = nn.Sequential(
            _pixel(64, 128, convolutions), nn.ReLU(), _pixel(128, size * size, convolutions)
        )
        self.convolutions = convolutions
        self.bias_decoder = nn.Sequential(nn.Linear(_HIDDEN, 32), nn.ReLU(), nn.Linear(32, 2 * size))
        self.last_bias = nn.Linear(size, 2 * outputs)

    def forward(self, architectures: Sequence[Sequence[int]]) -> Networks:
        """Generate networks.

        Args:
            architectures: The hidden widths of each.

        Returns:
            For each, for each layer, the weight ``[out, in]`` and the bias ``[out]``.
        """
        states = self._propagate(architectures)
        places = [
            (graph, layer)
            for graph, architecture in enumerate(architectures)
            for layer in range(len(architecture) + 1)
        ]
        weight_states = torch.stack([states[graph][1 + 2 * layer] for graph, layer in places])
        bias_states = torch.stack([states[graph][2 + 2 * layer] for graph, layer in places])
        features = self.expansion(weight_states)
        if self.convolutions:
            features = features[:, :, None, None]
        matrices = self.weight_decoder(features).view(-1, self.size, self.size)
        vectors = self.bias_decoder(bias_states).view(-1, 2, self.size)[:, 1]
        networks: Networks = [[] for _ in architectures]
        for (graph, layer), matrix, vector in zip(places, matrices, vectors, strict=True):
            widths = (self.inputs, *architectures[graph], self.outputs)
            fan_in, fan_out = widths[layer], widths[layer + 1]
            if layer == len(architectures[graph]):
                vector = self.last_bias(functional.relu(vector))[: self.outputs]
            weight = _fit(_fit(matrix, fan_out, 0), fan_in, 1) * math.sqrt(2 / fan_in)
            networks[graph].append((weight, torch.tanh(0.2 * _fit(vector, fan_out, 0))))
        return networks

    def _propagate(self, architectures: Sequence[Sequence[int]]) -> list[list[Tensor]]:
        """Return the state of each node of each graph, ``[16]``; graphs go through each step together."""
        nodes = [_features(architecture, self.outputs) for architecture in architectures]
        states = [list(self.encoder(torch.tensor(one)[:, None].to(self.norm.weight))) for one in nodes]
        longest = max(len(one) for one in states)
        for direction, order in ((-1, range(longest)), (1, reversed(range(longest)))):
            for node in order:
                there = [one for one in states if node < len(one)]
                neighbours = [
                    one[node + direction] if 0 <= node + direction < len(one) else None for one in there
                ]
                messages = self._messages(neighbours)
                updated = self.gate(messages, torch.stack([one[node] for one in there]))
                for one, state in zip(there, updated, strict=True):
                    one[node] = state
        return [list(self.norm(torch.stack(one))) for one in states]

    def _messages(self, neighbours: Sequence[Tensor | None]) -> Tensor:
        """Return what each node hears from its neighbour, zero from none, ``[n, 16]``."""
        zero = self.norm.weight.new_zeros(_HIDDEN)
        heard = self.message(torch.stack([zero if one is None else one for one in neighbours]))
        return torch.stack([zero if one is None else row for one, row in zip(neighbours, heard, strict=True)])


class NaiveNetwork(nn.Module):
    """One generated network as a module.

    Args:
        layers: The weight and the bias of each layer.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, inputs]`` to ``[B, outputs]``."""
        for weight, bias in self.layers[:-1]:
            x = functional.relu(functional.linear(x, weight, bias))
        return functional.linear(x, *self.layers[-1])


def _pixel(fan_in: int, fan_out: int, convolution: bool) -> nn.Module:
    return nn.Conv2d(fan_in, fan_out, 1) if convolution else nn.Linear(fan_in, fan_out)


def _features(architecture: Sequence[int], outputs: int) -> list[float]:
    """Return the numbers of the nodes: 0 for the input, then twice the output size of each layer."""
    sizes = (*architecture, outputs)
    return [0.0, *(float(size) for size in sizes for _ in range(2))]


def _fit(values: Tensor, size: int, axis: int) -> Tensor:
    """Cut an axis to a size, or repeat it up to it."""
    if size > values.shape[axis]:
        repeats = [1] * values.dim()
        repeats[axis] = math.ceil(size / values.shape[axis])
        values = values.repeat(repeats)
    return values.narrow(axis, 0, size)


def plain_network(widths: Sequence[int]) -> nn.Sequential:
    """Return an ordinary network of `nn.Linear` and `nn.ReLU`.

    Args:
        widths: Sizes from the input to the output.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
