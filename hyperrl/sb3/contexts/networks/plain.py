"""`unaware` and `concat`: one plain network, which sees the context as further inputs or not at all."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.plain_policy import DenseLayer
from hyperrl.sb3.contexts.groups import Groups
from hyperrl.sb3.contexts.networks.base import ContextNet, NetConfig, dense, linear, plain_layer


class UnawareNet(ContextNet):
    """A plain network of the input alone: one policy for all contexts."""

    sees_context: ClassVar[bool] = False
    needs_groups: ClassVar[bool] = False

    def __init__(
        self, input_dim: int, context_dim: int, output_dim: int, config: NetConfig, side_dim: int = 0
    ) -> None:
        super().__init__(input_dim, context_dim, output_dim, config, side_dim)
        inputs = input_dim + (context_dim if self.sees_context else 0)
        sizes = (inputs, *config.hidden, output_dim + side_dim)
        self.dense = dense(sizes, config.init, config.output_gain)

    def prepare(self, contexts: Tensor) -> Any:
        """Nothing depends on contexts alone."""
        return None

    def apply_prepared(self, prepared: Any, x: Tensor, groups: Groups) -> Tensor:
        """Apply the network; see `ContextNet.apply_prepared`."""
        return self._run(x)

    def layers(self, context: Tensor) -> list[DenseLayer]:
        """Return the network itself."""
        weights = [(layer.weight.double(), layer.bias.double()) for layer in linear(self.dense)]
        return self._folded(weights)

    def _run(self, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.config.activation]
        *hidden, last = self.dense
        for layer in hidden:
            x = activation(layer(x))
        out: Tensor = last(x)
        return out

    def _folded(self, weights: list[tuple[Tensor, Tensor]]) -> list[DenseLayer]:
        *hidden, (weight, bias) = weights
        layers = [plain_layer(*pair, self.config.activation) for pair in hidden]
        return [*layers, plain_layer(weight[: self.output_dim], bias[: self.output_dim])]


class ConcatNet(UnawareNet):
    """A plain network of input and context side by side: the usual way, and the baseline."""

    sees_context: ClassVar[bool] = True

    def prepare(self, contexts: Tensor) -> Tensor:
        """The contexts themselves."""
        return contexts

    def apply_prepared(self, prepared: Tensor, x: Tensor, groups: Groups) -> Tensor:
        """Apply the network; see `ContextNet.apply_prepared`."""
        rows = groups.spread(prepared)
        return self._run(torch.cat([x, rows.expand(len(x), -1)], dim=1))

    def layers(self, context: Tensor) -> list[DenseLayer]:
        """Return the network with the context's share in the first bias."""
        weights = [(layer.weight.double(), layer.bias.double()) for layer in linear(self.dense)]
        weight, bias = weights[0]
        own, rest = weight[:, : self.input_dim], weight[:, self.input_dim :]
        weights[0] = own, bias + rest @ context.double()
        return self._folded(weights)
