"""The settings of RecurrentHyper, checked before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets.contraction import CONTRACTIONS
from hyperrl.nets.init import INITS
from hyperrl.ranges import Range, above, between, whole
from hyperrl_agents.recurrent_hyper.networks import chosen_network

ENCODERS = ("rl2", "varibad")
"""What trains the memory: the policy's own loss, or a model of rewards (and states)."""

_SIZES = ("hidden_size", "latent_dim", "latent_features", "state_features")
_RANGES: dict[str, Range] = {
    "learning_rate": above(0, 1),
    "kl_weight": between(0, 1e6),
    "trials": whole(1, 1e6),
    "terms": whole(1, 1e6),
    "decodes": whole(1, 1e6),
    "updates": whole(1, 1e6),
    "buffer_size": whole(1, 1e7),
    "state_weight": between(0, 1e6),
}


@dataclasses.dataclass(frozen=True)
class ElboSettings:
    """How VariBAD's evidence lower bound is trained.

    Attributes:
        learning_rate: Of an Adam of its own.
        kl_weight: Of the divergences from the posterior before.
        trials: Whole trials of an update.
        terms: Posteriors of each trial that are decoded from, drawn anew for each update.
        decodes: Steps of each trial that are decoded from each.
        updates: Updates after each of PPO.
        buffer_size: Trials that are kept; the newest displace the oldest.
        reward_decoder: Hidden widths of the decoder of rewards.
        state_decoder: Hidden widths of the decoder of next states; None for none.
        state_weight: Of the loss of next states.

    Raises:
        ConfigError: A value is out of range.
    """

    learning_rate: float = 1e-3
    kl_weight: float = 0.1
    trials: int = 25
    terms: int = 50
    decodes: int = 50
    updates: int = 1
    buffer_size: int = 1000
    reward_decoder: Sequence[int] = (64, 32)
    state_decoder: Sequence[int] | None = None
    state_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name, allowed in _RANGES.items():
            allowed.check(f"elbo_kwargs.{name}", getattr(self, name))
        check_widths("elbo_kwargs.reward_decoder", self.reward_decoder)
        if self.state_decoder is not None:
            check_widths("elbo_kwargs.state_decoder", self.state_decoder)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ElboSettings:
        """Build them from a table.

        Args:
            given: Values by name.

        Raises:
            UnknownNameError: A name is unknown.
            ConfigError: This is no table, or a value is out of range.
        """
        if not isinstance(given, Mapping):
            raise ConfigError(f"elbo_kwargs must be a table of names and values, got {given!r}")
        names = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in names:
                raise unknown_name("setting of elbo_kwargs", str(name), names)
        return cls(**given)


def check_policy_settings(given: Mapping[str, Any]) -> None:
    """Refuse settings that no policy can be built with.

    Args:
        given: The settings of `RecurrentHyperPolicy` by name.

    Raises:
        ConfigError: A value is out of range.
        UnknownNameError: There is no such network, encoder, initialiser or contraction.
    """
    for part in ("actor", "critic"):
        chosen_network(part, given[part])
    for name, noun, known in (
        ("encoder", "encoder of RecurrentHyper", ENCODERS),
        ("init", "hypernetwork initialiser", INITS),
        ("contraction", "contraction", CONTRACTIONS),
    ):
        if not isinstance(given[name], str) or given[name] not in known:
            raise unknown_name(noun, str(given[name]), known)
    for name in _SIZES:
        whole(1, 1e6).check(name, given[name])
    above(0, 1e3).check("output_gain", given["output_gain"])
    check_widths("embeddings", given["embeddings"])
    if len(given["embeddings"]) != 3:
        raise ConfigError(
            f"embeddings must be the three sizes of state, action and reward, got {list(given['embeddings'])}"
        )
    arch = given["net_arch"]
    if isinstance(arch, Mapping):
        if set(arch) != {"pi", "vf"}:
            raise ConfigError(
                f"net_arch must have the widths of pi and of vf, got those of {', '.join(arch)}"
            )
        for part in ("pi", "vf"):
            check_widths(f"net_arch.{part}", arch[part])
    else:
        check_widths("net_arch", arch)


def check_widths(name: str, widths: Any) -> None:
    """Refuse what is no list of widths.

    Args:
        name: For messages.
        widths: The widths.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(widths, Sequence) or isinstance(widths, str):
        raise ConfigError(f"{name} must be a list of sizes such as [64, 32], got {widths!r}")
    for index, width in enumerate(widths):
        whole(1, 1e6).check(f"{name}[{index}]", width)
