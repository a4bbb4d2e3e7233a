"""`film` and `hyper`: networks whose modulation, or whose every weight, is generated from the context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from hyperrl.nets import Generated, HyperNet, TargetMLP, TargetSpec
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.plain_policy import DenseLayer
from hyperrl.sb3.contexts.groups import Groups
from hyperrl.sb3.contexts.networks.base import ContextNet, NetConfig, listed_widths, plain_layer

# Padding groups to the longest one may cost so many times the rows; beyond, each row has its own weights.
_WASTE = 4


class HyperPolicyNet(ContextNet):
    """A network that a hypernetwork generates from the context as a whole.

    It starts as the same plain network in every context (Bias-HyperInit; Beck et al., CoRL 2022), unless
    ``init`` says otherwise. Options are ``hypernet``, the kind of hypernetwork ("mlp", "lowrank", "modular",
    "chunked", ...), ``context_hidden`` and ``features``, the widths of its trunk, and what `HyperNet` takes
    (``encoder``, ``feature_norm``, ``init``, ``layer_norm``) and the kind (``rank``, ``modules``, ...).
    """

    generates_matrices: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = (
        *("hypernet", "context_hidden", "features", "encoder", "feature_norm", "init", "layer_norm"),
        *("rank", "modules", "chunk", "embedding", "widths", "base"),
    )
    _kind = "mlp"
    _features = 16

    def __init__(
        self, input_dim: int, context_dim: int, output_dim: int, config: NetConfig, side_dim: int = 0
    ) -> None:
        super().__init__(input_dim, context_dim, output_dim, config, side_dim)
        self.spec = TargetSpec.mlp(
            input_dim,
            config.hidden,
            output_dim + side_dim,
            activation=config.activation,
            init=config.init,
            output_init_gain=config.output_gain,
        )
        options: dict[str, Any] = dict(config.options)
        kind = options.pop("hypernet", self._kind)
        hidden = listed_widths("context_hidden", options.pop("context_hidden", (64,)))
        features = options.pop("features", self._features)
        if resolve_kind(kind).takes_trunk:
            options |= {"hidden": hidden, "features": features}
        self.hyper = HyperNet(self.spec, context_dim, kind, **options)
        self.target = TargetMLP(self.spec)

    @property
    def n_generated(self) -> int:
        """Numbers that are generated for each context."""
        return self.spec.numel

    def prepare(self, contexts: Tensor) -> Generated:
        """Generate the networks of contexts."""
        generated: Generated = self.hyper(contexts)
        return generated

    def apply_prepared(self, prepared: Generated, x: Tensor, groups: Groups) -> Tensor:
        """Apply the networks; see `ContextNet.apply_prepared`."""
        return applied(self.target, prepared, x, groups)

    def acting(self, groups: Groups) -> Callable[[Tensor], Tensor]:
        """Return the networks with all matrices formed; see `ContextNet.acting`."""
        return formed(self.prepare(groups.contexts), groups)

    def layers(self, context: Tensor) -> list[DenseLayer]:
        """Return the generated network."""
        with torch.no_grad():
            generated = self.hyper(context.to(self.hyper.theta0())[None])
        named = self.spec.unflatten(generated.materialise()[0])
        layers = []
        for layer in self.spec.layers:
            assert layer.bias is not None
            weight, bias = named[layer.weight], named[layer.bias]
            last = layer is self.spec.layers[-1]
            size = self.output_dim if last else layer.out_features
            layers.append(plain_layer(weight[:size], bias[:size], layer.activation))
        return layers


class FilmNet(HyperPolicyNet):
    """A shared network whose units the context scales and shifts (Perez et al., AAAI 2018).

    Options are ``context_hidden`` and ``features``, the widths of what reads the context, and ``encoder``.
    """

    generates_matrices: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ("context_hidden", "features", "encoder", "feature_norm", "init")
    _kind = "film"
    _features = 64

    @property
    def n_generated(self) -> int:
        """Numbers that are generated for each context: a scale and a shift for each unit."""
        return 2 * sum(layer.out_features for layer in self.spec.layers)

    def apply_prepared(self, prepared: Generated, x: Tensor, groups: Groups) -> Tensor:
        """Apply the networks; see `ContextNet.apply_prepared`."""
        if groups.ids is None:
            return super().apply_prepared(prepared, x, groups)
        # Weights are shared: a scale and a shift for each row are less than rows brought into groups.
        return self.target(prepared.index(groups.ids), x)


def applied(target: TargetMLP, generated: Generated, x: Tensor, groups: Groups) -> Tensor:
    """Apply networks, generated for the groups' contexts, to the rows of these groups.

    Args:
        target: The network.
        generated: Weights ``[U]``.
        x: ``[B, in]``.
        groups: Which row has which context.

    Returns:
        ``[B, out]``.
    """
    if groups.each == 1:
        return target(generated, x)
    if groups.ids is not None and groups.gather is not None and groups.gather.numel() > _WASTE * len(x):
        return target(generated.index(groups.ids), x)
    return groups.unpad(target(generated, groups.pad(x)))


def formed(generated: Generated, groups: Groups) -> Callable[[Tensor], Tensor]:
    """Return networks whose matrices are formed once, for rows in the groups' contexts.

    Args:
        generated: Weights ``[U]`` with biases and nothing else.
        groups: Which row has which context.

    Returns:
        A function from ``[B, in]`` to ``[B, out]``.
    """
    spec, count = generated.spec, len(groups.contexts)
    layers: list[tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]] = []
    for layer, weight in zip(spec.layers, generated.weights, strict=True):
        assert layer.bias is not None
        matrix = weight.dense().expand(count, -1, -1).contiguous()
        bias = generated.vector(layer.bias).expand(count, -1).unsqueeze(1).contiguous()
        layers.append((matrix, bias, ACTIVATIONS[layer.activation]))
    if count == 1:
        single = [(matrix[0], bias[0, 0], activation) for matrix, bias, activation in layers]

        def one(x: Tensor) -> Tensor:
            for matrix, bias, activation in single:
                x = activation(torch.addmm(bias, x, matrix))
            return x

        return one

    def several(x: Tensor) -> Tensor:
        x = groups.pad(x)
        for matrix, bias, activation in layers:
            x = activation(torch.baddbmm(bias, x, matrix))
        return groups.unpad(x)

    return several
