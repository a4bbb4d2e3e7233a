"""The settings of a policy's networks, checked and turned into what they are built of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hyperrl.errors import ConfigError, ContextError, unknown_name
from hyperrl.nets.matching import count_params
from hyperrl.sb3.contexts.networks import ContextNet, NetConfig, kind_class, make_net, matched
from hyperrl.sb3.contexts.observed import Observed

PARTS = ("actor", "critic")
"""The parts of a policy that have networks of their own."""

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.SiLU: "silu",
    nn.ELU: "elu",
    nn.GELU: "gelu",
    nn.LeakyReLU: "leaky_relu",
}


@dataclass(frozen=True)
class NetPlan:
    """One network of a policy.

    Attributes:
        kind: Its kind.
        config: How it is built.
        dims: Sizes of input, context and output.
        side_dim: Further outputs.
    """

    kind: str
    config: NetConfig
    dims: tuple[int, int, int]
    side_dim: int = 0

    def build(self) -> ContextNet:
        """Build the network."""
        return make_net(self.kind, *self.dims, self.config, self.side_dim)


def checked_kind(part: str, given: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the kind and the options of a network.

    Args:
        part: "actor" or "critic", for messages.
        given: The name of a kind, or a table with ``kind`` and the kind's options.

    Raises:
        UnknownNameError: There is no such kind.
        ConfigError: It is neither, or the table has no kind.
    """
    if isinstance(given, str):
        kind, options = given, {}
    elif isinstance(given, Mapping) and "kind" in given:
        options = dict(given)
        kind = options.pop("kind")
    else:
        raise ConfigError(
            f"{part} must be the name of a kind, such as 'concat', or a table with kind and its options, got "
            f"{given!r}"
        )
    kind_class(kind)
    return kind, options


def planned(
    part: str,
    given: str | Mapping[str, Any],
    config: NetConfig,
    dims: tuple[int, int, int],
    match_params: int | Mapping[str, int] | None,
    side_dim: int = 0,
) -> NetPlan:
    """Return the plan of a network, with a matched width if one is asked for.

    Args:
        part: "actor" or "critic".
        given: Its kind, see `checked_kind`.
        config: Widths, activation and initialisation.
        dims: Sizes of input, context and output.
        match_params: The number of trainable parameters that the network is to have, or one for each part;
            None for the widths as they are.
        side_dim: Further outputs.

    Raises:
        ConfigError: No width gives that number, or a part is unknown.
    """
    kind, options = checked_kind(part, given)
    config = NetConfig(config.hidden, config.activation, config.init, config.output_gain, options)
    if isinstance(match_params, Mapping):
        for name in match_params:
            if name not in PARTS:
                raise unknown_name("part of match_params", str(name), PARTS)
        wanted = match_params.get(part)
    else:
        wanted = match_params
    if wanted is not None:
        if not config.hidden:
            raise ConfigError("match_params widens hidden layers: give net_arch at least one")
        config, _ = matched(kind, *dims, config, wanted, side_dim)
    return NetPlan(kind, config, dims, side_dim)


def activation_name(activation_fn: type[nn.Module]) -> str:
    """Return the name of an activation of torch.

    Args:
        activation_fn: Its class.

    Raises:
        ConfigError: It has no name here.
    """
    if activation_fn not in _ACTIVATIONS:
        names = ", ".join(one.__name__ for one in _ACTIVATIONS)
        raise ConfigError(
            f"activation_fn must be one of {names}, got {getattr(activation_fn, '__name__', activation_fn)}"
        )
    return _ACTIVATIONS[activation_fn]


def widths(net_arch: Any, part: str) -> tuple[int, ...]:
    """Return the hidden widths of a part of a policy.

    Args:
        net_arch: A list of widths, or a dict with lists under "pi" and "qf" or "vf".
        part: "pi", "qf" or "vf".
    """
    if isinstance(net_arch, Mapping):
        return tuple(net_arch.get(part, ()))
    return tuple(net_arch)


def count_of(net: ContextNet, kind: str) -> dict[str, Any]:
    """Return what a network is and how large.

    Args:
        net: The network.
        kind: Its kind.
    """
    return {
        "kind": kind,
        "hidden": list(net.config.hidden),
        "trainable": count_params(net),
        "generated": net.n_generated,
    }


def fingerprint(observed: Observed) -> torch.Tensor:
    """Return 32 bytes that are the same for contexts of the same meaning, for files of weights.

    Args:
        observed: The contexts.
    """
    digest = hashlib.sha256(json.dumps(observed.meaning()).encode()).digest()
    return torch.tensor(list(digest), dtype=torch.uint8)


def check_fingerprint(state: torch.Tensor, observed: Observed) -> None:
    """Refuse weights that were trained for other contexts.

    Args:
        state: What `fingerprint` returned for theirs.
        observed: The contexts.

    Raises:
        ContextError: The contexts have other names, another order or another normalisation.
    """
    if not torch.equal(state.cpu(), fingerprint(observed)):
        names, ranges, *_ = observed.meaning()
        raise ContextError(
            f"these weights were trained for other contexts than {names} (training from {ranges}): give "
            "the environment that they were trained in"
        )
