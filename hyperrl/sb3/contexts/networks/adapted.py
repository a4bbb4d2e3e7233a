"""`adapter`: a shared network with a small generated one in the middle (the Decision Adapter)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from hyperrl.errors import ConfigError
from hyperrl.nets import Generated, HyperNet, TargetMLP, TargetSpec
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.nets.kinds.chunked import ChunkedKind
from hyperrl.plain_policy import DenseLayer
from hyperrl.sb3.contexts.groups import Groups
from hyperrl.sb3.contexts.networks.base import (
    ContextNet,
    NetConfig,
    dense,
    linear,
    listed_widths,
    plain_layer,
)
from hyperrl.sb3.contexts.networks.generated import applied, formed

# Of the published adapter: 32 units beside 256, pieces of 370 numbers from 37 units.
_UNITS_PER_BOTTLENECK = 8
_CHUNK_PER_WIDTH = 10
# Fewer units with ReLU are too often all at zero.
_LEAST_BOTTLENECK = 4


class AdaptedNet(ContextNet):
    """The Decision Adapter (Beukman et al., NeurIPS 2023).

    ``h = trunk(x)``, without an activation behind the trunk's last layer; ``h + A(h)`` goes into the output,
    where A is a bottleneck with ReLU behind both of its layers whose weights a chunked hypernetwork makes of
    the context. Side outputs see ``h`` itself.

    The hypernetwork has two hidden layers of the largest width h with which, at ``10 h`` numbers in a piece,
    it has no more parameters than it generates: for the published 256 units and a context of one number these
    are the published 37, 37 and 370.

    Raises:
        ConfigError: There is no hidden layer.
    """

    generates_matrices: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("bottleneck", "hypernet_hidden", "chunk", "embedding")

    def __init__(
        self, input_dim: int, context_dim: int, output_dim: int, config: NetConfig, side_dim: int = 0
    ) -> None:
        super().__init__(input_dim, context_dim, output_dim, config, side_dim)
        if not config.hidden:
            raise ConfigError("the kind 'adapter' adapts hidden features: give at least one hidden layer")
        width = config.hidden[-1]
        options = dict(config.options)
        bottleneck = options.get("bottleneck", max(_LEAST_BOTTLENECK, width // _UNITS_PER_BOTTLENECK))
        embedding = options.get("embedding", 8)
        if isinstance(embedding, bool) or not isinstance(embedding, int) or embedding < 1:
            raise ConfigError(f"embedding must be a positive integer, got {embedding!r}")
        self.spec = TargetSpec.mlp(width, (bottleneck,), width, output_activation="relu")
        own = _hypernet_width(self.spec.numel, context_dim, embedding)
        hidden = listed_widths("hypernet_hidden", options.get("hypernet_hidden", (own, own)))
        self.trunk = dense((input_dim, *config.hidden), config.init)
        self.output = dense((width, output_dim), config.init, config.output_gain)
        self.side = dense((width, side_dim), config.init, config.output_gain) if side_dim else None
        self.hyper = HyperNet(
            self.spec,
            context_dim,
            ChunkedKind,
            chunk=options.get("chunk", _CHUNK_PER_WIDTH * own),
            embedding=embedding,
            widths=hidden,
            base=False,
        )
        self.target = TargetMLP(self.spec)

    @property
    def n_generated(self) -> int:
        """Numbers that are generated for each context."""
        return self.spec.numel

    def prepare(self, contexts: Tensor) -> Generated:
        """Generate the adapters of contexts."""
        generated: Generated = self.hyper(contexts)
        return generated

    def apply_prepared(self, prepared: Generated, x: Tensor, groups: Groups) -> Tensor:
        """Apply the network; see `ContextNet.apply_prepared`."""
        return self._run(x, lambda features: applied(self.target, prepared, features, groups))

    def acting(self, groups: Groups) -> Callable[[Tensor], Tensor]:
        """Return the network with its adapters' matrices formed; see `ContextNet.acting`."""
        adapter = formed(self.prepare(groups.contexts), groups)
        return lambda x: self._run(x, adapter)

    def layers(self, context: Tensor) -> list[DenseLayer]:
        """Return a plain network that is wider where the adapter is.

        The output is ``O h + O A(h)``. The first part is carried beside the adapter as ``p - n`` with ``p``
        and ``n`` its positive and negative part, which ReLU leaves as they are.
        """
        with torch.no_grad():
            generated = self.hyper(context.to(self.hyper.theta0())[None])
        named = self.spec.unflatten(generated.materialise()[0].double())
        *hidden, last = linear(self.trunk)
        layers = [
            plain_layer(one.weight.double(), one.bias.double(), self.config.activation) for one in hidden
        ]
        trunk, trunk_bias = last.weight.double(), last.bias.double()
        head = linear(self.output)[0]
        out, out_bias = head.weight.double(), head.bias.double()
        down, down_bias = named["layers.0.weight"], named["layers.0.bias"]
        up, up_bias = named["layers.1.weight"], named["layers.1.bias"]
        size = self.output_dim
        # Behind the trunk's last layer nothing is bent: adapter and output take it into their own.
        first = torch.cat([down, out, -out])
        layers.append(
            plain_layer(first @ trunk, first @ trunk_bias + functional.pad(down_bias, (0, 2 * size)), "relu")
        )
        carried = torch.eye(2 * size, dtype=torch.float64)
        carried[:size, size:] = carried[size:, :size] = -torch.eye(size, dtype=torch.float64)
        layers.append(
            plain_layer(torch.block_diag(up, carried), functional.pad(up_bias, (0, 2 * size)), "relu")
        )
        sign = torch.eye(size, dtype=torch.float64)
        return [*layers, plain_layer(torch.cat([out, sign, -sign], dim=1), out_bias)]

    def _run(self, x: Tensor, adapter: Callable[[Tensor], Tensor]) -> Tensor:
        activation = ACTIVATIONS[self.config.activation]
        *hidden, last = self.trunk
        for layer in hidden:
            x = activation(layer(x))
        features = last(x)
        out: Tensor = self.output[0](features + adapter(features))
        return out if self.side is None else torch.cat([out, self.side[0](features)], dim=1)


def _hypernet_width(generated: int, context_dim: int, embedding: int) -> int:
    """The largest width of a hypernetwork that has no more parameters than it generates; at least 1."""

    def n_params(width: int) -> int:
        chunk = _CHUNK_PER_WIDTH * width
        layers = (context_dim + embedding + 1) * width + (width + 1) * width + (width + 1) * chunk
        return layers + embedding * ceil(generated / chunk)

    width = 1
    while n_params(width + 1) <= generated:
        width += 1
    return width
