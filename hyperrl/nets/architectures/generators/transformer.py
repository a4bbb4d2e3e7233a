"""The default generator: a token for each layer, a small transformer, low-rank weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.nets.architectures.generators.attention import Affine, TransformerLayer
from hyperrl.nets.architectures.generators.base import WeightGenerator
from hyperrl.nets.architectures.generators.decoding import Strips, decode, edges_of, strips, take
from hyperrl.nets.architectures.generators.lowrank import multiply
from hyperrl.nets.architectures.generators.plans import Plans
from hyperrl.nets.architectures.generators.shapes import Shapes
from hyperrl.nets.architectures.generators.tokens import feature_count, layer_features
from hyperrl.nets.architectures.layout import Layout, on_device
from hyperrl.nets.architectures.space import ArchitectureSpace
from hyperrl.ranges import above, whole

_Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class _Plan:
    """What one layout needs; layers are in an order of their own, that of their shapes.

    Attributes:
        features: ``[M, T, F]``, zero where a network has no more layers.
        mask: Which tokens there are, ``[M, 1, 1, T]``.
        layers: Where the token of each layer is, ``[L]``.
        rows: What is needed of the decoder of rows.
        columns: What is needed of the decoder of columns.
        biases: What is needed of the decoder of biases.
        shapes: The order of the layers.
    """

    features: Tensor
    mask: Tensor
    layers: Tensor
    rows: Strips
    columns: Strips
    biases: Strips
    shapes: Shapes


class TransformerGenerator(WeightGenerator):
    """Generates each layer's weight as a product of two thin matrices, decoded from a token for the layer.

    A token knows its layer's sizes and place (`layer_features`); two pre-normalised transformer layers tell
    it of the others (Knyazev et al., "Can We Scale Transformers to Predict Parameters of Diverse ImageNet
    Models?", ICML 2023). A decoder yields a vector for each neuron that the layer leads to, another one for
    each that it comes from, and their products are the weights (LoGAH, Zhou et al., 2024). Inputs and outputs
    of the networks have vectors of their own, whatever the widths. Only neurons that the layer has are
    decoded.

    Weights are scaled by the root of 2 over the layer's input, those of output layers by the root of 1 over
    it. Biases are 0 at first.

    Args:
        space: The architectures.
        rank: Length of the neurons' vectors.
        width: Size of a token.
        heads: Attention heads; they divide the width.
        depth: Transformer layers.
        hidden: Features that the decoders start from.
        weight_gain: Standard deviation of the first weights in units of the scale above. With it all steps in
            weights grow too. The default learnt the fastest when networks were to imitate another one.
        output_gain: Further factor of the first output layers' weights; that of steps is not changed.
            Networks imitate another one faster with 1; PPO of a quadrotor learnt faster with 0.1 (one seed
            each).

    Raises:
        ConfigError: An option is out of range, or the heads do not divide the width.
    """

    def __init__(
        self,
        space: ArchitectureSpace,
        rank: int = 16,
        width: int = 64,
        heads: int = 4,
        depth: int = 2,
        hidden: int = 128,
        weight_gain: float = 0.3,
        output_gain: float = 0.1,
    ) -> None:
        super().__init__(space)
        self.rank = int(whole(1, 1024).check("rank", rank))
        size = int(whole(1, 4096).check("width", width))
        if size % int(whole(1, 4096).check("heads", heads)):
            raise ConfigError(
                f"the width of a token must be a multiple of the heads, got {width} and {heads}"
            )
        features = int(whole(1, 4096).check("hidden", hidden))
        self.weight_gain = above(0, 1e6).check("weight_gain", weight_gain)
        self.embedding = Affine(feature_count(space), size)
        count = int(whole(1, 64).check("depth", depth))
        self.layers = nn.ModuleList(TransformerLayer(size, int(heads)) for _ in range(count))
        self.norm = nn.LayerNorm(size)
        self.expansion = Affine(size, features)
        widths = sorted({width for architecture in space.architectures for width in architecture})
        self._edges = edges_of(widths)
        neurons = widths[-1]
        # Weights have a standard deviation of one before the gains: vectors of unit numbers over root rank.
        spread = 1 / math.sqrt(features)
        self.rows = nn.Parameter(
            torch.empty(features, (neurons + space.outputs) * self.rank).normal_(0.0, spread)
        )
        self.columns = nn.Parameter(
            torch.empty(features, (space.inputs + neurons) * self.rank).normal_(0.0, spread)
        )
        with torch.no_grad():
            self.rows[:, neurons * self.rank :] *= above(0, 1e6).check("output_gain", output_gain)
        self.biases = nn.Parameter(torch.zeros(features, neurons + space.outputs))
        self._plans: Plans[_Plan] = Plans()

    def forward(self, layout: Layout) -> Tensor:
        """Generate; see `WeightGenerator.forward`.

        Args:
            layout: The architectures.
        """
        plan = self._plans.get(layout, self.device, self._plan)
        tokens = self.embedding(plan.features.to(self.rows.dtype))
        for layer in self.layers:
            tokens = layer(tokens, plan.mask)
        chosen = self.norm(take(tokens.flatten(0, 1), plan.layers))
        features = torch.relu(self.expansion(chosen))
        # Of one size, so that Adam's steps are as large for every layer.
        features = features * (features.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
        rows = decode(features, plan.rows.blocks, [self.rows]).view(-1, self.rank)
        columns = decode(features, plan.columns.blocks, [self.columns]).view(-1, self.rank)
        rows = rows * (self.weight_gain / math.sqrt(self.rank))
        weights = multiply(take(rows, plan.rows.order), take(columns, plan.columns.order), plan.shapes.groups)
        biases = decode(features, plan.biases.blocks, [self.biases])
        return take(torch.cat([weights, take(biases, plan.biases.order)]), plan.shapes.back)

    def _plan(self, layout: Layout, device: torch.device) -> _Plan:
        table = layout.layers
        longest = int(np.bincount(table.owner).max())
        features = np.zeros((len(layout), longest, feature_count(self.space)))
        features[table.owner, table.position] = layer_features(self.space, table)
        mask = np.zeros((len(layout), longest), bool)
        mask[table.owner, table.position] = True
        shapes = Shapes(layout, device)
        inputs, outputs = (np.array([0, size]) for size in (self.space.inputs, self.space.outputs))
        leads_out, comes_in = shapes.last.astype(np.int64), (~shapes.first).astype(np.int64)
        ends, starts = (self._edges, outputs), (inputs, self._edges)
        return _Plan(
            torch.from_numpy(features).to(device),
            torch.from_numpy(mask[:, None, None, :]).to(device),
            on_device((table.owner * longest + table.position)[shapes.order], device),
            strips(ends, leads_out, shapes.fan_out, self.rank, device),
            strips(starts, comes_in, shapes.fan_in, self.rank, device),
            strips(ends, leads_out, shapes.fan_out, 1, device),
            shapes,
        )
