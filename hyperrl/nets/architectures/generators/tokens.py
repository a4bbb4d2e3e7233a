"""What a generator is told of each layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperrl.nets.architectures.layout import LayerTable
from hyperrl.nets.architectures.space import ArchitectureSpace

# Features of about one for layers of up to 256 neurons.
_LOG_WIDTH = 8.0
_SCALARS = 7


def feature_count(space: ArchitectureSpace) -> int:
    """Return the number of features of a layer.

    Args:
        space: The architectures.
    """
    return _SCALARS + 2 * (int(space.depths.max()) + 1)


def layer_features(space: ArchitectureSpace, layers: LayerTable) -> NDArray[np.float64]:
    """Describe layers: logarithms of their sizes, their places from both ends, the depth of their network.

    The width itself, as HyperPPO has it, reaches a network behind a normalisation as nearly a constant: at
    first it cannot tell 64 from 256.

    Args:
        space: The architectures.
        layers: The layers.

    Returns:
        ``[L, feature_count(space)]``, numbers of about one.
    """
    longest = int(space.depths.max()) + 1
    count = len(layers)
    scalars = [
        np.log2(layers.fan_in) / _LOG_WIDTH,
        np.log2(layers.fan_out) / _LOG_WIDTH,
        layers.position / longest,
        layers.remaining / longest,
        (layers.position + layers.remaining) / longest,
        layers.position == 0,
        layers.remaining == 0,
    ]
    places = np.zeros((2, count, longest))
    places[0, np.arange(count), layers.position] = 1.0
    places[1, np.arange(count), layers.remaining] = 1.0
    return np.concatenate([np.stack(scalars, 1), *places], 1)
