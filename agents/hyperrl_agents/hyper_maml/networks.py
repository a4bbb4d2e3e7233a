"""Networks that give the weights of a task's policy: generated from its context, or the same for all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.nets import HyperNet, TargetSpec
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.kinds.modular import ModularKind
from hyperrl.sb3.contexts.networks.base import listed_widths
from hyperrl.sb3.meta.choices import choose, init_config

KINDS = ("hyper", "mlp")
"""`hyper`: a hypernetwork generates the policy from the context. `mlp`: one network for all tasks."""

PUBLISHED_TRUNK = (256, 512, 1024)
"""Widths of the published primary network."""

# Their heads start with the published constants; what combines fewer features starts as a plain network.
_PUBLISHED_HEADS = ("mlp", "linear")


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
        hypernet: Kind of hypernetwork (`hyperrl list kinds`).
        trunk: "residual", the published one, "mlp", or "none". Kinds without a trunk have none.
        trunk_hidden: Widths of the primary network.
        blocks: Residual blocks per width.
        init: Initialiser of the heads, see `hyperrl.nets.INITS`, by name or as a table of its settings; None
            for "hyperl" where the kind is "mlp" or "linear", and "bias_hyper" where it is another.
        activation: Of the generated network.
        **kind_options: Further arguments of the kind, such as ``modules``.

    Attributes:
        coefficients: Sizes of its mixing coefficients, layers and modules ``[L, M]``; None for kinds that mix
            nothing.

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
        hypernet: str = "mlp",
        trunk: str = "residual",
        trunk_hidden: Sequence[int] = PUBLISHED_TRUNK,
        blocks: int = 2,
        init: str | Mapping[str, Any] | None = None,
        activation: str = "relu",
        **kind_options: Any,
    ) -> None:
        if not context:
            raise ConfigError(
                "the actor 'hyper' generates policies from contexts, and these observations have none: show "
                "them (mode 'visible'), or take the actor 'mlp'"
            )
        widths = listed_widths("hidden", hidden)
        spec = TargetSpec.mlp(states, widths, actions, activation=activation, gain=True)
        super().__init__(spec, sees_context=True, joins_context=False)
        sizes: dict[str, Any] = {}
        if resolve_kind(hypernet).takes_trunk:
            sizes["trunk"] = trunk
            if trunk != "none":
                sizes["hidden"] = listed_widths("trunk_hidden", trunk_hidden)
            if trunk == "residual":
                sizes["blocks"] = blocks
        start = init_config(init, "hyperl" if hypernet in _PUBLISHED_HEADS else "bias_hyper")
        self.hyper = HyperNet(spec, context, hypernet, init=start, **sizes, **kind_options)
        head = self.hyper.head
        self.coefficients = head.sizes if isinstance(head, ModularKind) else None

    def forward(self, conditions: Tensor, shift: Tensor | None = None) -> Tensor:
        """Generate, see `TaskNetwork`.

        Args:
            conditions: ``[*batch, d]``.
            shift: What is added to the mixing coefficients, ``[*batch, L, M]``, which are then rescaled to
                their norm.
        """
        if shift is None:
            return self.hyper(conditions).materialise()  # type: ignore[no-any-return]
        head = self.hyper.head
        assert isinstance(head, ModularKind)
        moved = head.coefficients(self.hyper.features(conditions)) + shift
        return head.combine(head.normalised(moved)).materialise()


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
        widths = listed_widths("hidden", hidden)
        spec = TargetSpec.mlp(inputs, widths, actions, activation=activation, init="xavier")
        super().__init__(spec, sees_context=sees_context, joins_context=sees_context)
        self.weights = nn.Parameter(spec.init_flat())

    def forward(self, conditions: Tensor) -> Tensor:
        """Return the same weights for each condition, see `TaskNetwork`."""
        return self.weights.expand(*conditions.shape[:-1], self.spec.numel)


def checked_actor(given: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the kind and the options of an actor.

    Args:
        given: The name of a kind, or a table with ``kind`` and the kind's options, see
            `hyperrl.sb3.meta.choices.choose`.

    Raises:
        UnknownNameError: There is no such kind, hypernetwork or option.
        ConfigError: It is neither, or the hypernetwork cannot be one.
    """
    choice = choose("actor", given, _OPTIONS, "mlp", ("trunk", "trunk_hidden", "blocks"))
    generated = {} if choice.hypernet is None else {"hypernet": choice.hypernet, **choice.hypernet_options}
    return choice.kind, {**choice.options, **generated}


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
