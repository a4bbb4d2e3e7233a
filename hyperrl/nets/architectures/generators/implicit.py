"""Weights as a function of coordinates: where a weight is in its network says what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyperrl.nets.architectures.generators.attention import Affine
from hyperrl.nets.architectures.generators.base import WeightGenerator
from hyperrl.nets.architectures.generators.decoding import take
from hyperrl.nets.architectures.generators.plans import Plans
from hyperrl.nets.architectures.generators.shapes import Shapes
from hyperrl.nets.architectures.generators.tokens import feature_count, layer_features
from hyperrl.nets.architectures.layout import Layout, on_device
from hyperrl.nets.architectures.space import ArchitectureSpace
from hyperrl.ranges import above, whole

_Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class _Plan:
    """What one layout needs, layers in the order of their shapes.

    Attributes:
        layers: Their features, ``[L, F]``.
        owners: For the neurons that the layers lead to, then those that they come from: their layer.
        places: Where each of these is among all neurons of its own kind, as waves, ``[n, 2 waves]`` each.
        ends: Which of the outputs, counted from 1, each is, 0 for a hidden neuron; then which of the inputs.
        shapes: The order of the layers.
    """

    layers: Tensor
    owners: tuple[Tensor, Tensor]
    places: tuple[Tensor, Tensor]
    ends: tuple[Tensor, Tensor]
    shapes: Shapes


class ImplicitGenerator(WeightGenerator):
    """A small network that maps a weight's coordinates to the weight (Neural Metamorphosis, ECCV 2024).

    The coordinates are the features of the layer (`layer_features`) and the places of the two neurons that
    the weight connects, from 0 to 1, as sines and cosines. Inputs and outputs of the networks have no natural
    order: they have a learned vector each instead. As the first layer of the small network is linear in all
    of these, it is worked out for each neuron and not for each weight.

    Args:
        space: The architectures.
        hidden: Neurons in each of the two hidden layers of the small network.
        waves: Sines and cosines of a place.
        weight_gain: Initial standard deviation of the weights, in units of the root of 2 over the
            input, in output layers of 1 over it.
        output_gain: Further scale of the output layers' weights.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self,
        space: ArchitectureSpace,
        hidden: int = 32,
        waves: int = 8,
        weight_gain: float = 1.0,
        output_gain: float = 0.1,
    ) -> None:
        super().__init__(space)
        size = int(whole(1, 4096).check("hidden", hidden))
        self.waves = int(whole(1, 1024).check("waves", waves))
        self.weight_gain = above(0, 1e6).check("weight_gain", weight_gain)
        self.output_gain = above(0, 1e6).check("output_gain", output_gain)
        self.embedding = Affine(feature_count(space), size)
        sides = (space.outputs, space.inputs)
        # The sums of waves, each half of the time above its root mean square, are about two radians.
        spread = 2 / math.sqrt(self.waves)
        self.neurons = nn.ParameterList(
            nn.Parameter(torch.empty(2 * self.waves, size).normal_(0.0, spread)) for _ in sides
        )
        self.ends = nn.ParameterList(
            nn.Parameter(torch.empty(side, size).normal_(0.0, 2.0)) for side in sides
        )
        self.middle = Affine(size, size)
        self.last = nn.Parameter(torch.empty(size).normal_(0.0, math.sqrt(2 / size)))
        self.bias = nn.Parameter(torch.zeros(size))
        with torch.no_grad():
            self.middle.weight.normal_(0.0, 2 * math.sqrt(2 / size))
        self._plans: Plans[_Plan] = Plans()

    def forward(self, layout: Layout) -> Tensor:
        """Generate; see `WeightGenerator.forward`.

        Args:
            layout: The architectures.
        """
        plan = self._plans.get(layout, self.device, self._plan)
        layers = self.embedding(plan.layers.to(self.last.dtype))
        rows = self._neurons(0, plan) + layers.index_select(0, plan.owners[0])
        columns = self._neurons(1, plan)
        weights = []
        for shape in plan.shapes.groups:
            # [count, out, in, hidden]
            coordinates = shape.rows(rows)[:, :, None] + shape.columns(columns)[:, None]
            values = self._features(coordinates) @ self.last
            gain = self.weight_gain * (self.output_gain if shape.last else 1.0)
            weights.append(values.flatten() * (gain * shape.scale))
        biases = self._features(rows) @ self.bias
        return take(torch.cat([*weights, biases]), plan.shapes.back)

    def _features(self, coordinates: Tensor) -> Tensor:
        return torch.sin(self.middle(torch.sin(coordinates)))

    def _neurons(self, side: int, plan: _Plan) -> Tensor:
        """Return what each neuron on one side of each layer adds to the first layer, ``[n, hidden]``."""
        hidden = plan.places[side].to(self.last.dtype) @ self.neurons[side]
        # The first row is that of hidden neurons: their places say what they are.
        known = torch.cat([self.ends[side].new_zeros(1, self.ends[side].shape[1]), self.ends[side]])
        result: Tensor = hidden + known.index_select(0, plan.ends[side])
        return result

    def _plan(self, layout: Layout, device: torch.device) -> _Plan:
        shapes = Shapes(layout, device)
        owners, places, ends = [], [], []
        for counts, outer in ((shapes.fan_out, shapes.last), (shapes.fan_in, shapes.first)):
            owner = np.repeat(np.arange(len(counts)), counts)
            unit = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
            angle = np.pi * (unit + 0.5)[:, None] / counts[owner][:, None] * 2.0 ** np.arange(self.waves)
            known = outer[owner]
            waves = np.concatenate([np.sin(angle), np.cos(angle)], 1) * ~known[:, None]
            owners.append(on_device(owner, device))
            places.append(torch.from_numpy(waves).to(device))
            ends.append(on_device(np.where(known, unit + 1, 0), device))
        features = layer_features(self.space, layout.layers)[shapes.order]
        return _Plan(
            torch.from_numpy(features).to(device),
            (owners[0], owners[1]),
            (places[0], places[1]),
            (ends[0], ends[1]),
            shapes,
        )
