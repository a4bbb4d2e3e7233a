"""`cgate`: features of the input multiplied by features of the context."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperrl.errors import ConfigError
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.plain_policy import DenseLayer
from hyperrl.sb3.contexts.groups import Groups
from hyperrl.sb3.contexts.networks.base import ContextNet, NetConfig, dense, linear, plain_layer


class GatedNet(ContextNet):
    """The context gates the features of the input (cGate; Benjamins et al., TMLR 2023).

    Both the input and the context go through layers of their own; their features are multiplied, and the last
    hidden layer and the output see the product. With one hidden layer the output sees it at once.

    Raises:
        ConfigError: There is no hidden layer.
    """

    def __init__(
        self, input_dim: int, context_dim: int, output_dim: int, config: NetConfig, side_dim: int = 0
    ) -> None:
        super().__init__(input_dim, context_dim, output_dim, config, side_dim)
        if not config.hidden:
            raise ConfigError("the kind 'cgate' multiplies hidden features: give at least one hidden layer")
        self.gated = max(1, len(config.hidden) - 1)
        width = config.hidden[self.gated - 1]
        self.dense = dense(
            (input_dim, *config.hidden, output_dim + side_dim), config.init, config.output_gain
        )
        self.gate = dense((context_dim, width), config.init)

    def prepare(self, contexts: Tensor) -> Tensor:
        """Features of the contexts, ``[U, width]``."""
        return ACTIVATIONS[self.config.activation](self.gate[0](contexts))

    def apply_prepared(self, prepared: Tensor, x: Tensor, groups: Groups) -> Tensor:
        """Apply the network; see `ContextNet.apply_prepared`."""
        activation = ACTIVATIONS[self.config.activation]
        *hidden, last = self.dense
        for index, layer in enumerate(hidden, 1):
            x = activation(layer(x))
            if index == self.gated:
                x = x * groups.spread(prepared)
        out: Tensor = last(x)
        return out

    def layers(self, context: Tensor) -> list[DenseLayer]:
        """Return the input's layers, the one behind the product with the gate in its weights."""
        with torch.no_grad():
            gate = self.prepare(context.to(linear(self.gate)[0].weight)[None])[0].double()
        layers = []
        for index, layer in enumerate(linear(self.dense)):
            weight, bias = layer.weight.double(), layer.bias.double()
            weight = weight * gate if index == self.gated else weight
            if index < len(self.dense) - 1:
                layers.append(plain_layer(weight, bias, self.config.activation))
            else:
                layers.append(plain_layer(weight[: self.output_dim], bias[: self.output_dim]))
        return layers
