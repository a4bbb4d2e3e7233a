"""Nested weights: every architecture is a corner of one large network, without a hypernetwork."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from hyperrl.nets.architectures.generators.base import WeightGenerator
from hyperrl.nets.architectures.generators.plans import Plans
from hyperrl.nets.architectures.layout import Layout, on_device, positions_of_blocks
from hyperrl.nets.architectures.space import ArchitectureSpace
from hyperrl.ranges import above


class NestedGenerator(WeightGenerator):
    """Slimmable networks (Yu et al., ICLR 2019): a layer is the upper left corner of a shared, largest one.

    Hidden layers are shared by all architectures that have one at that place, output layers by those with
    as many hidden layers. A corner is scaled by the root of the largest input over its own, so that its
    outputs have the same spread at every width.

    Args:
        space: The architectures.
        output_gain: Scale of the first output layers.
    """

    def __init__(self, space: ArchitectureSpace, output_gain: float = 0.1) -> None:
        super().__init__(space)
        above(0, 1e6).check("output_gain", output_gain)
        depth = int(space.depths.max())
        # By place: the largest input and output of a hidden layer there; then by depth those of an output.
        self._fan_in = np.zeros((2, depth + 1), np.int64)
        self._fan_out = np.zeros((2, depth + 1), np.int64)
        table = Layout(space, range(len(space))).layers
        last = (table.remaining == 0).astype(np.int64)
        np.maximum.at(self._fan_in, (last, table.position), table.fan_in)
        np.maximum.at(self._fan_out, (last, table.position), table.fan_out)
        sizes = self._fan_in * self._fan_out
        ends = np.cumsum(sizes.ravel()).reshape(sizes.shape)
        self._weight_start = ends - sizes
        bias_ends = np.cumsum(self._fan_out.ravel()).reshape(sizes.shape)
        self._bias_start = bias_ends - self._fan_out + int(ends[-1, -1])
        self.masters = nn.Parameter(torch.zeros(int(ends[-1, -1] + bias_ends[-1, -1])))
        with torch.no_grad():
            for kind, gain in enumerate((math.sqrt(2.0), output_gain)):
                for place in range(depth + 1):
                    start, size = int(self._weight_start[kind, place]), int(sizes[kind, place])
                    fan_in = max(1, int(self._fan_in[kind, place]))
                    self.masters[start : start + size].normal_(0.0, gain / math.sqrt(fan_in))
        self._plans: Plans[tuple[Tensor, Tensor]] = Plans()

    def forward(self, layout: Layout) -> Tensor:
        """Cut the corners out; see `WeightGenerator.forward`.

        Args:
            layout: The architectures.
        """
        source, scale = self._plans.get(layout, self.device, self._plan)
        return self.masters.index_select(0, source) * scale.to(self.masters.dtype)

    def _plan(self, layout: Layout, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return where each weight comes from and what it is multiplied by, ``[total]`` each."""
        table = layout.layers
        place = (table.remaining == 0).astype(np.int64), table.position
        full = self._fan_in[place]
        # A weight and a bias are two blocks that follow each other, layer by layer.
        pairs = [
            np.stack(two, 1).ravel()
            for two in (
                (self._weight_start[place], self._bias_start[place]),
                (table.fan_out, np.ones_like(full)),
                (table.fan_in, table.fan_out),
                (full, self._fan_out[place]),
            )
        ]
        scales = np.stack([np.sqrt(full / table.fan_in), np.ones(len(full))], 1).ravel()
        scale = np.repeat(scales, pairs[1] * pairs[2])
        return on_device(positions_of_blocks(*pairs), device), torch.from_numpy(scale).to(device)
