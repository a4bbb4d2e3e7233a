"""Policy and value function of a context: one embedding, a head for each of the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.nets import Generated, HyperNet, InitConfig, TargetMLP, TargetSpec
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.kinds.base import Kind

PUBLISHED_EMBEDDING = (64, 128, 256)


@dataclass(frozen=True)
class Shape:
    """What decides the networks.

    Attributes:
        state: Numbers of a state.
        action: Numbers of an action.
        context: Numbers of a context, or of whatever stands for it.
        kind: Name of a hypernetwork kind: "mlp" generates all weights, "concat" only sees the features.
        embedding: Widths of the residual embedding; empty feeds the condition to the head as it is.
        blocks: Residual blocks per width.
        hidden: Hidden widths of policy and value function.
        activation: Their hidden activation.
        init: Initialiser of the heads; None takes HyperZero's for "mlp", a plain network's for others.
        critic: Whether there is a value function.
    """

    state: int
    action: int
    context: int
    kind: str = "mlp"
    embedding: tuple[int, ...] = PUBLISHED_EMBEDDING
    blocks: int = 2
    hidden: tuple[int, ...] = (256,)
    activation: str = "relu"
    init: str | None = None
    critic: bool = True

    @property
    def policy_spec(self) -> TargetSpec:
        """The policy: state to action in [-1, 1]."""
        return self._spec(self.state, self.action, "tanh")

    @property
    def value_spec(self) -> TargetSpec:
        """The value function: state and action to a number."""
        return self._spec(self.state + self.action, 1, "identity")

    def _spec(self, inputs: int, outputs: int, last: str) -> TargetSpec:
        # Generated weights start as their initialiser says; the others as published, orthogonal.
        return TargetSpec.mlp(
            inputs,
            self.hidden,
            outputs,
            activation=self.activation,
            output_activation=last,
            init="torch" if self.kind == "mlp" else "orthogonal",
        )

    def head_init(self) -> InitConfig:
        """Return how heads start."""
        return InitConfig(self.init or ("hyperzero" if self.kind == "mlp" else "bias_hyper"))


class ContextNetworks(nn.Module):
    """A policy and, where there is one, a value function for each context.

    With the defaults these are HyperZero's: an embedding of 64, 128 and 256 with two residual blocks each,
    U(±1/(2 sqrt(fan in))); heads U(±0.05) for first layers and U(±0.008) for last ones, with biases of zero.

    Weights are generated once for each context, however many states it has.

    Args:
        shape: The sizes and kinds.

    Raises:
        ConfigError: Sizes make no network.
        UnknownNameError: A name is unknown.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        trunk: dict[str, Any] = (
            {"trunk": "residual", "hidden": shape.embedding} if shape.embedding else {"hidden": ()}
        )
        self.policy = HyperNet(
            shape.policy_spec,
            shape.context,
            shape.kind,
            blocks=shape.blocks,
            init=shape.head_init(),
            **trunk,
        )
        self.policy_target = TargetMLP(shape.policy_spec)
        self.values: Kind | None = None
        if shape.critic:
            self.values_target = TargetMLP(shape.value_spec)
            features = shape.embedding[-1] if shape.embedding else shape.context
            self.values = resolve_kind(shape.kind)(shape.value_spec, features)
            self.values.initialise(shape.head_init(), self.policy.measure_second_moment())

    @property
    def sizes(self) -> dict[str, dict[str, Any]]:
        """What policy ("actor") and value function ("critic") are: kind, widths, trainable and generated.

        The embedding, which they share, counts as the policy's.
        """
        parts: dict[str, tuple[nn.Module, TargetSpec]] = {"actor": (self.policy, self.shape.policy_spec)}
        if self.values is not None:
            parts["critic"] = (self.values, self.shape.value_spec)
        return {
            name: {
                "kind": "hyper" if self.shape.kind == "mlp" else self.shape.kind,
                "hidden": list(self.shape.hidden),
                "trainable": sum(parameter.numel() for parameter in module.parameters()),
                "generated": spec.numel if self.shape.kind == "mlp" else 0,
            }
            for name, (module, spec) in parts.items()
        }

    def forward(self, contexts: Tensor, states: Tensor) -> Tensor:
        """Actions ``[*batch, n, a]`` for contexts ``[*batch, d]`` and states ``[*batch, n, s]``."""
        actions: Tensor = self.policy_target(self.policy(contexts), states)
        return actions

    def generate(self, contexts: Tensor) -> tuple[Generated, Generated]:
        """Generate the weights of policies and value functions of contexts ``[G, d]``.

        Raises:
            ConfigError: There is no value function.
        """
        if self.values is None:
            raise ConfigError("these networks have no value function")
        features = self.policy.features(contexts)
        return self.policy.head(features), self.values(features)

    def act(self, generated: Generated, states: Tensor) -> Tensor:
        """Actions ``[G, n, a]`` in [-1, 1] for states ``[G, n, s]``."""
        return self.policy_target(generated, states)

    def judge(self, generated: Generated, states: Tensor, actions: Tensor) -> Tensor:
        """Values ``[G, n]`` of states ``[G, n, s]`` and actions ``[G, n, a]``."""
        return self.values_target(generated, torch.cat([states, actions], dim=-1)).squeeze(-1)


def count_parameters(shape: Shape) -> int:
    """Return the number of trainable parameters of `ContextNetworks`, without building them.

    Args:
        shape: The shape, of the kind "mlp" or "concat".

    Raises:
        ConfigError: It is of another kind.
    """
    if shape.kind not in ("mlp", "concat"):
        raise ConfigError(f"parameters are counted for the kinds mlp and concat, not for {shape.kind}")
    widths = (shape.context, *shape.embedding)
    total = sum(
        fan_in * width + width + shape.blocks * 2 * (width * width + width)
        for fan_in, width in pairwise(widths)
    )
    for spec in (shape.policy_spec, shape.value_spec) if shape.critic else (shape.policy_spec,):
        # One template for each feature; or one more input of the first layer for each.
        per_feature = spec.numel if shape.kind == "mlp" else spec.layers[0].out_features
        total += spec.numel + widths[-1] * per_feature
    return total


def matched(shape: Shape, parameters: int) -> Shape:
    """Return the shape with equally wide hidden layers that comes nearest to a number of parameters.

    Args:
        shape: The shape whose hidden widths are changed; their number stays.
        parameters: How many parameters are wanted.

    Raises:
        ConfigError: Even the narrowest network has more.
    """

    def widened(width: int) -> Shape:
        return replace(shape, hidden=(width,) * len(shape.hidden))

    low, high = 1, 2
    if not shape.hidden or count_parameters(widened(low)) > parameters:
        raise ConfigError(f"no width of hidden layers makes networks of only {parameters:,} parameters")
    while count_parameters(widened(high)) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count_parameters(widened(middle)) <= parameters else (low, middle)
    return min((widened(low), widened(high)), key=lambda one: abs(count_parameters(one) - parameters))


def layers_of(generated: Generated) -> Sequence[tuple[Tensor, Tensor]]:
    """Return weights ``[out, in]`` and biases ``[out]`` of generated networks, for a single condition.

    Args:
        generated: Weights without batch dimensions.
    """
    named = generated.as_dict()
    return [(named[layer.weight], named[str(layer.bias)]) for layer in generated.spec.layers]
