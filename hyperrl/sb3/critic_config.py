"""Which hypernetwork a critic is: the presets `fast`, `compact` and `paper`, or fields of your own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import sqrt
from typing import Any, Literal

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets import CONTRACTIONS, Contraction, HyperNet, InitConfig
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.spec import NORMS
from hyperrl.ranges import above, between, whole

_CONDITIONS = ("state", "action")
_TRUNKS = ("mlp", "residual")
_TRUNK_FIELDS = (
    "trunk",
    "trunk_hidden",
    "features",
    "activation",
    "layer_norm",
    "feature_norm",
    "trunk_init_scale",
)
_RANGES = {"features": whole(1, 65_536), "learning_rate": above(0, 1), "trunk_init_scale": above(0, 100)}
_ONLY_OF_TRUNK = {"mlp": ("features", "activation", "layer_norm"), "residual": ("trunk_init_scale",)}
_NO_OPTIONS = tuple(inspect.signature(HyperNet).parameters)
_ZERO_HEAD = InitConfig("bias_hyper")


@dataclass(frozen=True)
class HyperCriticConfig:
    """A state-action value function ``Q(s, a) = target(input; weights = hyper(condition))``.

    Attributes:
        condition: ``state``: the state generates a network of the action (SA-Hyper); ``action``: the ablation
            the other way round (AS-Hyper; Sarafian et al., ICML 2021).
        hidden: Hidden widths of the generated network.
        gain: Whether the generated layers have a gain per unit.
        hidden_norm: ``layer`` standardises the generated network's hidden layers before their activation,
            ``none`` does not.
        kind: Kind of hypernetwork head. A kind without a trunk (``linear``) does not use what is said of the
            trunk and its features below; an encoder can normalise its condition.
        kind_options: Further arguments of the kind (``rank``, ``modules``).
        encoder: Encoder of the condition, or several.
        trunk: ``mlp`` or ``residual`` (HypeRL's primary network).
        trunk_hidden: Hidden widths of the primary network; all its widths if it is residual.
        features: Features K that feed the head (``mlp`` trunk); None takes the kind's default.
        activation: Activation of an ``mlp`` trunk.
        layer_norm: Whether an ``mlp`` trunk normalises its hidden layers.
        feature_norm: Normalisation of the features, see `hyperrl.nets.trunk.FeatureNorm`.
        init: Initialiser of the head; a name or a mapping stands for `InitConfig` with those fields.
        target_init: How the generated network would start if it were a plain one.
        trunk_init_scale: Initial scale of a residual trunk.
        learning_rate: The critic's learning rate where it differs from the agent's; a schedule of the agent
            scales it along. None takes the agent's.
        contraction: Order of evaluation, see `hyperrl.nets.contraction`.

    Raises:
        ConfigError: If a value has the wrong type or is out of range.
        UnknownNameError: If a name is unknown.
    """

    condition: Literal["state", "action"] = "state"
    hidden: tuple[int, ...] = (256,)
    gain: bool = False
    hidden_norm: str = "layer"
    kind: str = "mlp"
    kind_options: Mapping[str, Any] = field(default_factory=dict)
    encoder: str | tuple[str, ...] = "identity"
    trunk: Literal["mlp", "residual"] = "mlp"
    trunk_hidden: tuple[int, ...] = (256,)
    features: int | None = 16
    activation: str = "relu"
    layer_norm: bool = True
    feature_norm: str = "l2"
    init: InitConfig = _ZERO_HEAD
    target_init: str = "torch"
    trunk_init_scale: float = 0.5
    learning_rate: float | None = None
    contraction: Contraction = "auto"

    def __post_init__(self) -> None:
        """Refuse impossible values; lists from a configuration file become tuples."""
        for name in ("hidden", "trunk_hidden"):
            object.__setattr__(self, name, _widths(name, getattr(self, name)))
        object.__setattr__(self, "init", _init_config(self.init))
        if isinstance(self.encoder, list):
            object.__setattr__(self, "encoder", tuple(self.encoder))
        _check_names(self)
        _check_kind_options(self.kind_options)
        for name in ("gain", "layer_norm"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"critic.{name} must be true or false, got {getattr(self, name)!r}")
        choices = {
            "condition": _CONDITIONS,
            "hidden_norm": NORMS,
            "trunk": _TRUNKS,
            "contraction": CONTRACTIONS,
        }
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise unknown_name(f"critic {name}", str(getattr(self, name)), valid)
        for name, allowed in _RANGES.items():
            value = getattr(self, name)
            if value is not None or name == "trunk_init_scale":
                object.__setattr__(self, name, allowed.check(f"critic.{name}", value))

    @classmethod
    def from_mapping(
        cls, values: Mapping[str, Any], presets: Mapping[str, HyperCriticConfig] | None = None
    ) -> HyperCriticConfig:
        """Build from plain data; ``preset`` names what the other keys change (``fast`` if absent).

        Args:
            values: Fields of this class, and ``preset``.
            presets: The presets by name; `CRITICS` if None.

        Raises:
            UnknownNameError: If a key or the preset is unknown.
            ConfigError: If a value is out of range, or is given for a trunk that the critic does not have.
        """
        settings = dict(values)
        base = critic_config(settings.pop("preset", "fast"), presets)
        names = tuple(entry.name for entry in fields(cls))
        for key in settings:
            if key not in names:
                raise unknown_name("critic setting", str(key), (*names, "preset"))
        config = replace(base, **settings)
        unused = [key for key in settings if key in _TRUNK_FIELDS]
        if unused and not resolve_kind(config.kind).takes_trunk:
            raise ConfigError(
                f"the critic kind {config.kind!r} has no trunk: leave out {', '.join(unused)}, "
                f"or use the kind 'mlp'"
            )
        for trunk, names in _ONLY_OF_TRUNK.items():
            unused = [key for key in settings if key in names]
            if unused and config.trunk != trunk:
                raise ConfigError(
                    f"the critic's {config.trunk} trunk does not use {', '.join(unused)}: leave it out, "
                    f"or use the trunk {trunk!r}"
                )
        return config


def _check_names(config: HyperCriticConfig) -> None:
    for name in ("activation", "feature_norm", "target_init"):
        if not isinstance(getattr(config, name), str):
            raise ConfigError(f"critic.{name} must be a name, got {getattr(config, name)!r}")
    encoder = config.encoder
    steps = encoder if isinstance(encoder, tuple) else (encoder,)
    if not steps or not all(isinstance(step, str) for step in steps):
        raise ConfigError(f"critic.encoder must be a name or a list of names, got {encoder!r}")


def _check_kind_options(options: Any) -> None:
    if not isinstance(options, Mapping):
        raise ConfigError(f"critic.kind_options must be a table of options, got {options!r}")
    for name in options:
        if name in _NO_OPTIONS:
            raise ConfigError(f"critic.kind_options cannot hold {name!r}, which is no option of a kind")


def _widths(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or any(
        not _is_whole(width) or not 1 <= width <= 65_536 for width in value
    ):
        raise ConfigError(
            f"critic.{name} must hold whole numbers from 1 to 65536, such as [256, 256], got {value!r}"
        )
    return tuple(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _init_config(init: Any) -> InitConfig:
    if isinstance(init, InitConfig):
        return init
    if isinstance(init, str):
        return InitConfig(init)
    if not isinstance(init, Mapping):
        raise ConfigError(f"critic.init must be the name of an initialiser or a table, got {init!r}")
    known = [entry.name for entry in fields(InitConfig)]
    for key in init:
        if key not in known:
            raise unknown_name("critic initialiser setting", str(key), known)
    if not isinstance(init.get("method", ""), str):
        raise ConfigError(f"critic.init.method must be a name, got {init['method']!r}")
    if "scale" in init:
        init = {**init, "scale": between(0, 100).check("critic.init.scale", init["scale"])}
    return InitConfig(**init)


PAPER = HyperCriticConfig(
    gain=True,
    hidden_norm="none",
    trunk="residual",
    trunk_hidden=(256, 512, 1024),
    features=None,
    feature_norm="none",
    init=InitConfig("hyperl"),
    learning_rate=5e-5,
)
COMPACT = HyperCriticConfig(
    gain=True,
    hidden_norm="none",
    trunk="residual",
    trunk_hidden=(64, 128, 256),
    features=None,
    feature_norm="none",
    init=InitConfig("hyperl"),
    learning_rate=5e-5,
)
FAST = HyperCriticConfig()

CRITICS: dict[str, HyperCriticConfig] = {"fast": FAST, "compact": COMPACT, "paper": PAPER}
"""The critics by name, with the constants that the paper uses for TD3."""

SAC_CRITICS: dict[str, HyperCriticConfig] = {
    name: replace(config, trunk_init_scale=sqrt(0.5)) if config.trunk == "residual" else config
    for name, config in CRITICS.items()
}
"""The same for SAC, where the paper's code starts the primary network 1.41 times as large."""


def critic_config(
    critic: str | HyperCriticConfig | Mapping[str, Any],
    presets: Mapping[str, HyperCriticConfig] | None = None,
) -> HyperCriticConfig:
    """Turn what a user gives as ``policy_kwargs=dict(critic=...)`` into a config.

    Args:
        critic: ``fast``, ``compact`` or ``paper``; a config; or a mapping with its fields.
        presets: What the names stand for; `CRITICS` if None.

    Raises:
        UnknownNameError: If no preset has that name.
        ConfigError: If it is something else.
    """
    presets = CRITICS if presets is None else presets
    if isinstance(critic, HyperCriticConfig):
        return critic
    if isinstance(critic, Mapping):
        return HyperCriticConfig.from_mapping(critic, presets)
    if not isinstance(critic, str):
        raise ConfigError(
            f"critic must be one of {sorted(presets)} or a HyperCriticConfig, got {type(critic).__name__}"
        )
    if critic not in presets:
        raise unknown_name("critic", critic, presets)
    return presets[critic]
