"""The hypernetwork: encoder, trunk and head, behind one interface for every kind."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hyperrl import registry
from hyperrl.errors import ConfigError, NonFiniteError, PluginError, ShapeError, unknown_name
from hyperrl.nets.encoder_chain import make_encoder
from hyperrl.nets.encoders import Encoder
from hyperrl.nets.generated import Generated
from hyperrl.nets.init import InitConfig
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import TargetSpec
from hyperrl.nets.trunk import FeatureNorm, MLPTrunk, ResidualTrunk

TRUNKS: tuple[str, ...] = ("mlp", "residual", "none")
_PROBES = 512


class HyperNet(nn.Module):
    """Generates the weights of a target network from a condition.

    Use it in two phases, ``weights = hyper.generate(condition)`` and ``TargetMLP(spec)(weights, x)``; the
    second can be repeated, cached, broadcast over many inputs or exported.

    Args:
        spec: The target network.
        condition_dim: Size of a condition.
        kind: Name of a registered kind (`hyperrl list kinds`), or a `Kind` class.
        encoder: Name of a condition encoder, an `Encoder`, or a sequence of these.
        trunk: ``mlp``; ``residual`` for HypeRL's primary network, whose last width is the feature size; or
            ``none``, which feeds the encoded condition to the head of any kind.
        hidden: Hidden widths of the trunk; the kind's own default if None.
        features: Number of features that an ``mlp`` trunk feeds to the head; the kind's own default if None.
        activation: Hidden activation of an ``mlp`` trunk.
        layer_norm: Whether an ``mlp`` trunk normalises its hidden layers.
        feature_norm: ``none | l2 | layer | tanh``, see `FeatureNorm`.
        init: Name of a head initialiser or an `InitConfig`.
        condition_sample: Conditions ``[N, condition_dim]`` on which the features' second moment is measured
            for the initialiser; standard normal ones (uniform within declared bounds) if None.
        blocks: Residual blocks per width of a ``residual`` trunk.
        trunk_init_scale: Initial scale of a ``residual`` trunk, see `ResidualTrunk`.
        kind_options: Further arguments of the kind, such as ``rank`` or ``modules``.

    Raises:
        ConfigError: If sizes or options make no network.
        UnknownNameError: If a name is unknown.
    """

    def __init__(
        self,
        spec: TargetSpec,
        condition_dim: int,
        kind: str | type[Kind] = "mlp",
        *,
        encoder: str | Encoder | Sequence[str | Encoder] = "identity",
        trunk: Literal["mlp", "residual", "none"] = "mlp",
        hidden: Sequence[int] | None = None,
        features: int | None = None,
        activation: str = "relu",
        layer_norm: bool = False,
        feature_norm: str = "none",
        init: str | InitConfig = "bias_hyper",
        condition_sample: Tensor | None = None,
        blocks: int = 2,
        trunk_init_scale: float = 0.5,
        **kind_options: Any,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.condition_dim = condition_dim
        kind_class = resolve_kind(kind)
        self.encoder = make_encoder(encoder, condition_dim)
        self.trunk, feature_dim = _make_trunk(
            kind_class,
            self.encoder.output_dim,
            trunk,
            None if hidden is None else tuple(hidden),
            features,
            activation=activation,
            layer_norm=layer_norm,
            blocks=blocks,
            init_scale=trunk_init_scale,
        )
        self.feature_norm = FeatureNorm(feature_norm)
        _check_options(kind_class, kind_options)
        self.head = kind_class(spec, feature_dim, **kind_options)
        config = InitConfig(init) if isinstance(init, str) else init
        self.head.initialise(config, self.measure_second_moment(condition_sample))

    def forward(self, condition: Tensor) -> Generated:
        """Generate without checking the condition; see `generate`."""
        generated: Generated = self.head(self.features(condition))
        return generated

    def features(self, condition: Tensor) -> Tensor:
        """The normalised features ``[*batch, K]`` that feed the head."""
        normalised: Tensor = self.feature_norm(self.trunk(self.encoder(condition)))
        return normalised

    def generate(self, condition: Tensor) -> Generated:
        """Generate the target's weights.

        Args:
            condition: ``[*batch, condition_dim]``; no batch dimensions for a single condition.

        Raises:
            ShapeError: If the last dimension is not ``condition_dim``.
            NonFiniteError: If a condition is NaN or infinite.
            BoundsError: If the encoder has bounds and a condition lies outside.
        """
        self._validate(condition)
        generated: Generated = self(condition)
        return generated

    def _validate(self, condition: Tensor) -> None:
        if not bool(torch.isfinite(condition).all()):
            raise NonFiniteError("conditions must be finite, got NaN or infinite values")
        self.encoder.validate(condition)

    def generate_unique(self, condition: Tensor) -> tuple[Generated, Tensor]:
        """Generate once per distinct condition.

        Args:
            condition: ``[B, condition_dim]`` with repeated rows.

        Returns:
            Weights for the U distinct conditions, and ids ``[B]`` in ``[0, U)`` that say which row has
            which; `hyperrl.nets.grouping.apply_grouped` applies them.

        Raises:
            ShapeError: If the condition is not of shape ``[B, condition_dim]``.
            NonFiniteError: If a condition is NaN or infinite.
            BoundsError: If the encoder has bounds and a condition lies outside.
        """
        if condition.dim() != 2:
            raise ShapeError(
                f"expected conditions [B, {self.condition_dim}], got shape {tuple(condition.shape)}"
            )
        distinct, ids = torch.unique(condition, dim=0, return_inverse=True)
        return self.generate(distinct), ids

    @torch.no_grad()
    def measure_second_moment(self, condition_sample: Tensor | None = None) -> float:
        """Measure ``E[f_k^2]`` of the features.

        Args:
            condition_sample: Conditions ``[N, condition_dim]``; the encoder's own probes if None.

        Raises:
            ShapeError: If the sample is empty or of another size.
            NonFiniteError: If a condition is NaN or infinite.
            BoundsError: If the encoder has bounds and a condition lies outside.
        """
        if condition_sample is None:
            own = next(self.head.parameters())
            probes = self.encoder.probes(_PROBES)
            condition_sample = probes.to(own) if probes.is_floating_point() else probes.to(own.device)
        elif not condition_sample.numel():
            raise ShapeError("the sample of conditions for the initialiser is empty")
        else:
            self._validate(condition_sample)
        return max(float(self.features(condition_sample).square().mean()), 1e-12)

    def n_params(self) -> int:
        """Number of trainable parameters of the hypernetwork."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def n_generated(self) -> int:
        """Number of generated numbers per condition."""
        return self.spec.numel

    def theta0(self) -> Tensor:
        """The independent weights ``[P]`` that the head adds to."""
        return self.head.theta0()

    @torch.no_grad()
    def set_theta0(self, flat: Tensor) -> None:
        """Replace the independent weights ``[P]``, for example by a pretrained network's.

        Raises:
            ShapeError: If the shape is another.
        """
        self.head.set_theta0(flat)

    def freeze_theta0(self, frozen: bool = True) -> None:
        """Stop (or resume) training the independent weights."""
        self.head.freeze_theta0(frozen)

    @torch.no_grad()
    def generated_stats(self, condition: Tensor) -> dict[str, float]:
        """How far generated weights lie from theta0.

        Args:
            condition: ``[B, condition_dim]``; a few dozen rows are enough.

        Returns:
            For each target tensor ``rms(theta - theta0) / rms(theta0)``, with a floor of 1e-8 below, and
            ``feature_norm``, the mean norm of the features.
        """
        features = self.features(condition)
        theta = self.spec.unflatten(self.head(features).materialise())
        base = self.spec.unflatten(self.theta0())
        stats = {"feature_norm": float(features.norm(dim=-1).mean())}
        for name, value in theta.items():
            reference = base[name].square().mean().sqrt().clamp_min(1e-8)
            stats[name] = float((value - base[name]).square().mean().sqrt() / reference)
        return stats


def _make_trunk(
    kind_class: type[Kind],
    input_dim: int,
    trunk: str,
    hidden: tuple[int, ...] | None,
    features: int | None,
    *,
    activation: str,
    layer_norm: bool,
    blocks: int,
    init_scale: float,
) -> tuple[nn.Module, int]:
    """Build the primary network and say how many features it gives."""
    if trunk not in TRUNKS:
        raise unknown_name("trunk", trunk, TRUNKS)
    if trunk == "none":
        if hidden or features is not None:
            raise ConfigError("the trunk 'none' has no widths: leave out hidden and features")
        return nn.Identity(), input_dim
    hidden = kind_class.default_hidden if hidden is None else hidden
    features = kind_class.default_features if features is None else features
    if not kind_class.takes_trunk and (hidden or features is not None or trunk != "mlp"):
        raise ConfigError(f"{kind_class.__name__} has no trunk: leave out its widths, or use the kind 'mlp'")
    if trunk == "residual":
        return ResidualTrunk(input_dim, hidden, blocks, init_scale), hidden[-1]
    if features is None and not hidden:
        return nn.Identity(), input_dim
    feature_dim = hidden[-1] if features is None else features
    return MLPTrunk(input_dim, hidden, feature_dim, activation, layer_norm), feature_dim


def _check_options(kind_class: type[Kind], options: Mapping[str, Any]) -> None:
    known = option_names(kind_class)
    for name in options:
        if known is not None and name not in known:
            raise unknown_name(f"option of {kind_class.__name__}", name, known)


def option_names(kind_class: type[Kind]) -> list[str] | None:
    """Return the names of a kind's own options, such as ``modules``; None where it takes any.

    Args:
        kind_class: The kind.
    """
    parameters = list(inspect.signature(kind_class).parameters.values())[2:]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters]


def resolve_kind(kind: str | type[Kind]) -> type[Kind]:
    """Find a kind by name.

    Raises:
        UnknownNameError: If no kind has that name.
        PluginError: If what the name stands for is no `Kind`.
    """
    found = registry.kinds.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(found, type) and issubclass(found, Kind)):
        raise PluginError(f"the hypernetwork kind {kind!r} is no subclass of hyperrl.nets.kinds.base.Kind")
    return found
