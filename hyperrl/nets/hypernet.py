"""The hypernetwork: encoder, trunk and head, behind one interface for every kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hyperrl import registry
from hyperrl.errors import ConfigError, NonFiniteError, PluginError
from hyperrl.nets.encoders import CosSin, EmbeddingTable, Encoder, make_encoder
from hyperrl.nets.generated import Generated
from hyperrl.nets.init import InitConfig
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.spec import TargetSpec
from hyperrl.nets.trunk import FeatureNorm, MLPTrunk, ResidualTrunk

_PROBES = 512


class HyperNet(nn.Module):
    """Generates the weights of a target network from a condition.

    Use it in two phases, ``weights = hyper.generate(condition)`` and ``TargetMLP(spec)(weights, x)``; the
    second can be repeated, cached, broadcast over many inputs or exported.

    Args:
        spec: The target network.
        condition_dim: Size of a condition.
        kind: Name of a registered kind (`hyperrl list kinds`), or a `Kind` class.
        encoder: Name of a condition encoder, several names, or an `Encoder`.
        trunk: ``mlp``, or ``residual`` for HypeRL's primary network, whose last width is the feature size.
        hidden: Hidden widths of the trunk; the kind's own default if None.
        features: Number of features that feed the head; the kind's own default if None.
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
        encoder: str | Sequence[str] | Encoder = "identity",
        trunk: Literal["mlp", "residual"] = "mlp",
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
        encoded = self.encoder.output_dim
        hidden = kind_class.default_hidden if hidden is None else tuple(hidden)
        features = kind_class.default_features if features is None else features
        self.trunk: nn.Module
        if not kind_class.takes_trunk and (hidden or features is not None or trunk != "mlp"):
            raise ConfigError(
                "a linear hypernetwork has no trunk: leave out its widths, or use the kind 'mlp'"
            )
        if trunk == "residual":
            self.trunk = ResidualTrunk(encoded, hidden, blocks, trunk_init_scale)
            feature_dim = self.trunk.output_dim
        elif trunk != "mlp":
            raise ConfigError(f"the trunk must be 'mlp' or 'residual', got {trunk!r}")
        elif features is None and not hidden:
            self.trunk, feature_dim = nn.Identity(), encoded
        else:
            feature_dim = hidden[-1] if features is None else features
            self.trunk = MLPTrunk(encoded, hidden, feature_dim, activation, layer_norm)
        self.feature_norm = FeatureNorm(feature_norm)
        try:
            self.head = kind_class(spec, feature_dim, **kind_options)
        except TypeError as error:
            raise ConfigError(
                f"{kind_class.__name__} does not take the options {sorted(kind_options)}"
            ) from error
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
        self.encoder.validate(condition)
        if not bool(torch.isfinite(condition).all()):
            raise NonFiniteError("conditions must be finite, got NaN or infinite values")
        generated: Generated = self(condition)
        return generated

    def generate_unique(self, condition: Tensor) -> tuple[Generated, Tensor]:
        """Generate once per distinct condition.

        Args:
            condition: ``[B, condition_dim]`` with repeated rows.

        Returns:
            Weights for the U distinct conditions, and ids ``[B]`` in ``[0, U)`` that say which row has
            which; `hyperrl.nets.grouping.apply_grouped` applies them.
        """
        self.encoder.validate(condition)
        distinct, ids = torch.unique(condition, dim=0, return_inverse=True)
        return self.generate(distinct), ids

    @torch.no_grad()
    def measure_second_moment(self, condition_sample: Tensor | None = None) -> float:
        """``E[f_k^2]`` of the features, on given conditions or on probes that the encoder accepts."""
        sample = self._probes() if condition_sample is None else condition_sample
        return max(float(self.features(sample).square().mean()), 1e-12)

    def _probes(self) -> Tensor:
        encoder = self.encoder
        first = next(
            (module for module in encoder.modules() if isinstance(module, CosSin | EmbeddingTable)), None
        )
        if isinstance(first, CosSin):
            return first.low + (first.high - first.low) * torch.rand(_PROBES, first.input_dim)
        if isinstance(first, EmbeddingTable):
            return torch.arange(first.table.shape[0]).unsqueeze(-1)
        return torch.randn(_PROBES, self.condition_dim)

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
