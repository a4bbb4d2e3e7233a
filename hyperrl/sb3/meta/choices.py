"""How policies of tasks are told which networks they have: by a name or a table, checked before building.

All of them say it in the same words: ``{"kind": "hyper", "hypernet": "modular", "modules": 8}`` is a network
that a hypernetwork of the kind `modular` generates.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from hyperrl import registry
from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets import InitConfig
from hyperrl.nets.hypernet import option_names, resolve_kind
from hyperrl.ranges import between

GENERATED = "hyper"
"""The network that is generated, and may say by which kind of hypernetwork."""

_OF_THE_ALGORITHM = ("self", "observation_space", "action_space", "lr_schedule")


@dataclass(frozen=True)
class NetworkChoice:
    """Which network.

    Attributes:
        kind: Its name, `GENERATED` or another one.
        options: What the table says of the network itself.
        hypernet: Kind of hypernetwork that generates it; None where nothing is generated.
        hypernet_options: That kind's own options, such as ``modules``.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    hypernet: str | None = None
    hypernet_options: Mapping[str, Any] = field(default_factory=dict)


def choose(
    part: str,
    given: Any,
    own: Mapping[str, Sequence[str]],
    default: str,
    of_trunk: Sequence[str] = (),
) -> NetworkChoice:
    """Read the choice of a network.

    Args:
        part: What it is for, such as "actor", for messages.
        given: The name of a network, or a table with ``kind`` and options.
        own: Options of each network by name; `GENERATED` also takes ``hypernet`` and the options of that
            kind.
        default: Kind of hypernetwork where none is said.
        of_trunk: Those of `GENERATED` that are not for kinds without a trunk.

    Raises:
        UnknownNameError: A name of a network, a kind or an option is unknown.
        ConfigError: It is neither name nor table, or the kind generates no weights or has no trunk.
    """
    if isinstance(given, str):
        kind, options = given, {}
    elif isinstance(given, Mapping) and "kind" in given:
        options = dict(given)
        kind = options.pop("kind")
    else:
        raise ConfigError(
            f"{part} must be one of {', '.join(own)}, or a table with kind and its options, got {given!r}"
        )
    if not isinstance(kind, str) or kind not in own:
        raise unknown_name(part, str(kind), own)
    noun, known = f"option of the {part} {kind!r}", list(own[kind])
    if kind != GENERATED:
        _check_names(noun, options, known)
        return NetworkChoice(kind, options)
    hypernet = options.pop("hypernet", default)
    takes_trunk, names = _looked_up(part, hypernet)
    if names is not None:
        _check_names(noun, options, [*known, "hypernet", *names])
    if not takes_trunk:
        unused = [name for name in of_trunk if name in options]
        if unused:
            raise ConfigError(
                f"the hypernetwork kind {hypernet!r} of the {part} has no trunk: leave out "
                f"{', '.join(unused)}, or take the kind 'mlp'"
            )
    mine = {name: value for name, value in options.items() if name in known}
    theirs = {name: value for name, value in options.items() if name not in known}
    return NetworkChoice(kind, mine, hypernet, theirs)


def init_config(given: Any, default: str) -> InitConfig:
    """Return how the head of a hypernetwork starts.

    Args:
        given: The name of an initialiser or a table of its settings; None takes the default.
        default: The name of the default.

    Raises:
        UnknownNameError: A name is unknown.
        ConfigError: It is neither name nor table, or a value is wrong.
    """
    if given is None or isinstance(given, str):
        return InitConfig(given or default)
    if isinstance(given, InitConfig):
        return given
    if not isinstance(given, Mapping) or not isinstance(given.get("method", default), str):
        raise ConfigError(
            f"init must be the name of an initialiser, or a table with its method, got {given!r}"
        )
    _check_names("setting of init", given, [entry.name for entry in fields(InitConfig)])
    scale = between(0, 100).check("init.scale", given.get("scale", 0.0))
    return InitConfig(**{"method": default, **given, "scale": scale})


def check_policy_kwargs(policy: type[Any], given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a policy does not have.

    Args:
        policy: Its class.
        given: What is to be passed to it.

    Raises:
        UnknownNameError: There is no such argument.
    """
    parameters = inspect.signature(policy.__init__).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [name for name in parameters if name not in _OF_THE_ALGORITHM]
    _check_names("argument of policy_kwargs", given, known)


def _looked_up(part: str, hypernet: Any) -> tuple[bool, list[str] | None]:
    """Return whether a kind of hypernetwork has a trunk, and the names of its options."""
    if not isinstance(hypernet, str):
        raise ConfigError(f"hypernet of the {part} must be the name of a kind, got {hypernet!r}")
    kind = resolve_kind(hypernet)
    if not kind.generates_weights:
        others = [name for name in registry.kinds.names() if resolve_kind(name).generates_weights]
        raise ConfigError(
            f"the kind {hypernet!r} generates no weights, and the {part} {GENERATED!r} is generated: take "
            f"one of {', '.join(others)}"
        )
    return kind.takes_trunk, option_names(kind)


def _check_names(noun: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise unknown_name(noun, str(name), known)
