"""Networks of an input and a context, one file for each way to let the context in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hyperrl.errors import unknown_name
from hyperrl.nets.matching import match_width
from hyperrl.sb3.contexts.networks.adapted import AdaptedNet
from hyperrl.sb3.contexts.networks.base import ContextNet, NetConfig
from hyperrl.sb3.contexts.networks.gated import GatedNet
from hyperrl.sb3.contexts.networks.generated import FilmNet, HyperPolicyNet
from hyperrl.sb3.contexts.networks.plain import ConcatNet, UnawareNet

KINDS: dict[str, type[ContextNet]] = {
    "unaware": UnawareNet,
    "concat": ConcatNet,
    "film": FilmNet,
    "cgate": GatedNet,
    "adapter": AdaptedNet,
    "hyper": HyperPolicyNet,
}
"""The networks by the names of their kinds."""

__all__ = ["KINDS", "ContextNet", "NetConfig", "kind_class", "make_net", "matched"]


def kind_class(kind: str) -> type[ContextNet]:
    """Return the class of a kind.

    Args:
        kind: Its name.

    Raises:
        UnknownNameError: There is no such kind.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown_name("kind of context network", str(kind), KINDS)
    return KINDS[kind]


def make_net(
    kind: str, input_dim: int, context_dim: int, output_dim: int, config: NetConfig, side_dim: int = 0
) -> ContextNet:
    """Build a network of a kind.

    Args:
        kind: One of `KINDS`.
        input_dim: Size of an input.
        context_dim: Size of a context.
        output_dim: Size of the output.
        config: The network.
        side_dim: Further outputs, see `ContextNet`.

    Raises:
        UnknownNameError: The kind, an option or a name in the configuration is unknown.
        ConfigError: A value is wrong.
    """
    # Where the context has no numbers, all rows have the context [1.0]: see `Grouping.of`.
    return kind_class(kind)(input_dim, max(1, context_dim), output_dim, config, side_dim)


def matched(
    kind: str,
    input_dim: int,
    context_dim: int,
    output_dim: int,
    config: NetConfig,
    n_params: int,
    side_dim: int = 0,
) -> tuple[NetConfig, int]:
    """Return a configuration with the width that gives nearest to so many trainable parameters.

    Args:
        kind: One of `KINDS`.
        input_dim: Size of an input.
        context_dim: Size of a context.
        output_dim: Size of the output.
        config: The network; all of its hidden layers get the same width, the last one perhaps another.
        n_params: The wanted number.
        side_dim: Further outputs.

    Returns:
        The configuration, and the number that it gives.

    Raises:
        ConfigError: No width does.
    """

    def match(of_width: Callable[[int], NetConfig]) -> tuple[NetConfig, int]:
        found = match_width(
            lambda width: make_net(kind, input_dim, context_dim, output_dim, of_width(width), side_dim),
            n_params,
        )
        return of_width(found.width), found.n_params

    config, count = match(config.with_width)
    if len(config.hidden) < 2:
        return config, count
    # The last hidden layer alone moves in smaller steps.
    first = config.hidden[:-1]
    finer, finer_count = match(lambda width: replace(config, hidden=(*first, width)))
    return (finer, finer_count) if abs(finer_count - n_params) < abs(count - n_params) else (config, count)
