"""Which hypernetwork a critic is: the presets `fast`, `compact` and `paper`, or fields of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, Literal

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets import CONTRACTIONS, Contraction, InitConfig


@dataclass(frozen=True)
class HyperCriticConfig:
    """A state-action value function ``Q(s, a) = target(input; weights = hyper(condition))``.

    Attributes:
        condition: ``state``: the state generates a network of the action (SA-Hyper); ``action``: the ablation
            the other way round (AS-Hyper; Sarafian et al., ICML 2021).
        hidden: Hidden widths of the generated network.
        gain: Whether the generated layers have a gain per unit.
        kind: Kind of hypernetwork head.
        kind_options: Further arguments of the kind (``rank``, ``modules``).
        encoder: Encoder of the condition, or several.
        trunk: ``mlp`` or ``residual`` (HypeRL's primary network).
        trunk_hidden: Hidden widths of the primary network; all its widths if it is residual.
        features: Features K that feed the head (``mlp`` trunk).
        activation: Activation of an ``mlp`` trunk.
        layer_norm: Whether an ``mlp`` trunk normalises its hidden layers.
        feature_norm: Normalisation of the features, see `hyperrl.nets.trunk.FeatureNorm`.
        init: Initialiser of the head.
        target_init: How the generated network would start if it were a plain one.
        trunk_init_scale: Initial scale of a residual trunk.
        learning_rate: The critic's learning rate where it differs from the agent's; a schedule of the agent
            scales it along. None takes the agent's.
        contraction: Order of evaluation, see `hyperrl.nets.contraction`.

    Raises:
        ConfigError: If a value is out of range.
        UnknownNameError: If a name is unknown.
    """

    condition: Literal["state", "action"] = "state"
    hidden: tuple[int, ...] = (256,)
    gain: bool = False
    kind: str = "mlp"
    kind_options: Mapping[str, Any] = field(default_factory=dict)
    encoder: str | tuple[str, ...] = "identity"
    trunk: Literal["mlp", "residual"] = "mlp"
    trunk_hidden: tuple[int, ...] = (256,)
    features: int | None = 32
    activation: str = "relu"
    layer_norm: bool = False
    feature_norm: str = "l2"
    init: InitConfig = InitConfig("bias_hyper", 0.1)
    target_init: str = "torch"
    trunk_init_scale: float = 0.5
    learning_rate: float | None = None
    contraction: Contraction = "auto"

    def __post_init__(self) -> None:
        """Refuse impossible values; lists from a configuration file become tuples."""
        for name in ("hidden", "trunk_hidden"):
            widths = tuple(getattr(self, name))
            if any(not isinstance(width, int) or isinstance(width, bool) or width < 1 for width in widths):
                raise ConfigError(f"critic.{name} must hold positive integers, got {list(widths)}")
            object.__setattr__(self, name, widths)
        if isinstance(self.encoder, list):
            object.__setattr__(self, "encoder", tuple(self.encoder))
        if self.condition not in ("state", "action"):
            raise unknown_name("critic condition", str(self.condition), ("state", "action"))
        if self.contraction not in CONTRACTIONS:
            raise unknown_name("contraction", str(self.contraction), CONTRACTIONS)
        rate = self.learning_rate
        if rate is not None and not (isfinite(rate) and rate > 0):
            raise ConfigError(f"critic.learning_rate must be a positive number, got {rate}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> HyperCriticConfig:
        """Build from plain data; ``preset`` names what the other keys change.

        Raises:
            UnknownNameError: If a key or the preset is unknown.
            ConfigError: If a value is out of range.
        """
        settings = dict(values)
        base = critic_config(settings.pop("preset", "fast"))
        names = {entry.name: getattr(base, entry.name) for entry in fields(cls)}
        for key in settings:
            if key not in names:
                raise unknown_name("critic setting", key, (*names, "preset"))
        init = settings.get("init")
        if isinstance(init, str):
            settings["init"] = InitConfig(init)
        elif isinstance(init, Mapping):
            known = {entry.name for entry in fields(InitConfig)}
            for key in init:
                if key not in known:
                    raise unknown_name("critic initialiser setting", str(key), known)
            settings["init"] = InitConfig(**init)
        return cls(**{**names, **settings})


PAPER = HyperCriticConfig(
    gain=True,
    trunk="residual",
    trunk_hidden=(256, 512, 1024),
    features=None,
    feature_norm="none",
    init=InitConfig("hyperl"),
    learning_rate=5e-5,
)
COMPACT = HyperCriticConfig(
    gain=True,
    trunk="residual",
    trunk_hidden=(64, 128, 256),
    features=None,
    feature_norm="none",
    init=InitConfig("hyperl"),
    learning_rate=5e-5,
)
FAST = HyperCriticConfig()

CRITICS: dict[str, HyperCriticConfig] = {"fast": FAST, "compact": COMPACT, "paper": PAPER}


def critic_config(critic: str | HyperCriticConfig | Mapping[str, Any]) -> HyperCriticConfig:
    """Turn what a user gives as ``policy_kwargs=dict(critic=...)`` into a config.

    Args:
        critic: ``fast``, ``compact`` or ``paper``; a config; or a mapping with its fields.

    Raises:
        UnknownNameError: If no preset has that name.
        ConfigError: If it is something else.
    """
    if isinstance(critic, HyperCriticConfig):
        return critic
    if isinstance(critic, Mapping):
        return HyperCriticConfig.from_mapping(critic)
    if not isinstance(critic, str):
        raise ConfigError(
            f"critic must be one of {sorted(CRITICS)} or a HyperCriticConfig, got {type(critic).__name__}"
        )
    if critic not in CRITICS:
        raise unknown_name("critic", critic, CRITICS)
    return CRITICS[critic]
