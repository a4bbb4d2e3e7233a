"""Networks that give the weights of a task's policy: generated from its context, or the same for all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets import HyperNet, InitConfig, TargetSpec

KINDS = ("hyper", "mlp")
"""`hyper`: a hypernetwork generates the policy from the context. `mlp`: one network for all tasks."""

PUBLISHED_TRUNK = (256, 512, 1024)
"""Widths of the published primary network."""


class TaskNetwork(nn.Module):
    """Gives the weights of the policies of tasks, by what is seen of their contexts.

    Args:
        spec: The policy's network, from inputs to mean actions.
        sees_context: Whether the policy depends on the context.
        joins_context: Whether the context is part of its inputs.
    """

    def __init__(self, spec: TargetSpec, sees_context: bool, joins_context: bool) -> None:
        super().__init__()
        self.spec, self.sees_context, self.joins_context = spec, sees_context, joins_context

    @abstractmethod
    def forward(self, conditions: Tensor) -> Tensor:
        """Return flat weights ``[*batch, P]`` of policies for conditions ``[*batch, d]``."""


class GeneratedNetwork(TaskNetwork):
    """HypeRL's policy: the primary network reads the context, the generated one the state.

    Args:
        states: Numbers of a state.
        context: Numbers of a context.
        actions: Numbers of an action.
        hidden: Hidden widths of the generated network.
        trunk: "residual", the published one, or "mlp".
        trunk_hidden: Widths of the primary network.
        blocks: Residual blocks per width.
        init: Initialiser of the heads, see `hyperrl.nets.INITS`, by name or as a table of its settings.
        activation: Of the generated network.

    Raises:
        ConfigError: There is no context, or a size makes no network.
        UnknownNameError: A name is unknown.
    """

    def __init__(
        self,
        states: int,
        context: int,
        actions: int,
        *,
        hidden: Sequence[int] = (256,),
        trunk: str = "residual",
        trunk_hidden: Sequence[int] = PUBLISHED_TRUNK,
        blocks: int = 2,
        init: str | Mapping[str, Any] = "hyperl",
        activation: str = "relu",
    ) -> None:
        if not context:
            raise ConfigError(
                "the actor 'hyper' generates policies from contexts, and these observations have none: show "
                "them (mode 'visible'), or take the actor 'mlp'"
            )
        spec = TargetSpec.mlp(states, hidden, actions, activation=activation, gain=True)
        super().__init__(spec, sees_context=True, joins_context=False)
        chosen = InitConfig(**init) if isinstance(init, Mapping) else init
        sizes: dict[str, Any] = {"hidden": tuple(trunk_hidden)}
        if trunk == "residual":
            sizes["blocks"] = blocks
        self.hyper = HyperNet(spec, context, "mlp", trunk=trunk, init=chosen, **sizes)  # type: ignore[arg-type]

    def forward(self, conditions: Tensor) -> Tensor:
        """Generate, see `TaskNetwork`."""
        return self.hyper(conditions).materialise()  # type: ignore[no-any-return]


class SharedNetwork(TaskNetwork):
    """One network for all tasks, which adaptation alone makes different; plain MAML's.

    Args:
        states: Numbers of a state.
        context: Numbers of a context.
        actions: Numbers of an action.
        hidden: Hidden widths.
        activation: Hidden activation.
        sees_context: Whether the context is a further input.

    Raises:
        ConfigError: It is to see a context and there is none, or a size makes no network.
        UnknownNameError: The activation is unknown.
    """

    def __init__(
        self,
        states: int,
        context: int,
        actions: int,
        *,
        hidden: Sequence[int] = (100, 100),
        activation: str = "relu",
        sees_context: bool = False,
    ) -> None:
        if sees_context and not context:
            raise ConfigError(
                "the actor 'mlp' with sees_context needs a context, and these observations have none: show "
                "them (mode 'visible'), or leave sees_context out"
            )
        inputs = states + context if sees_context else states
        spec = TargetSpec.mlp(inputs, hidden, actions, activation=activation, init="xavier")
        super().__init__(spec, sees_context=sees_context, joins_context=sees_context)
        self.weights = nn.Parameter(spec.init_flat())

    def forward(self, conditions: Tensor) -> Tensor:
        """Return the same weights for each condition, see `TaskNetwork`."""
        return self.weights.expand(*conditions.shape[:-1], self.spec.numel)


def checked_actor(given: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the kind and the options of an actor.

    Args:
        given: The name of a kind, or a table with ``kind`` and the kind's options.

    Raises:
        UnknownNameError: There is no such kind or option.
        ConfigError: It is neither.
    """
    if isinstance(given, str):
        kind, options = given, {}
    elif isinstance(given, Mapping) and "kind" in given:
        options = dict(given)
        kind = options.pop("kind")
    else:
        raise ConfigError(
            f"actor must be one of {', '.join(KINDS)}, or a table with kind and its options, got {given!r}"
        )
    if kind not in KINDS:
        raise unknown_name("actor", str(kind), KINDS)
    known = _OPTIONS[kind]
    for name in options:
        if name not in known:
            raise unknown_name(f"option of the actor {kind!r}", str(name), known)
    return kind, options


def make_network(
    kind: str, states: int, context: int, actions: int, options: Mapping[str, Any]
) -> TaskNetwork:
    """Build a network.

    Args:
        kind: One of `KINDS`.
        states: Numbers of a state.
        context: Numbers of a context, 0 for none.
        actions: Numbers of an action.
        options: Those of `GeneratedNetwork` or `SharedNetwork`.
    """
    if kind == "hyper":
        return GeneratedNetwork(states, context, actions, **options)
    return SharedNetwork(states, context, actions, **options)


_OPTIONS = {
    "hyper": ("hidden", "trunk", "trunk_hidden", "blocks", "init", "activation"),
    "mlp": ("hidden", "activation", "sees_context"),
}
