"""Condition encoders: what a hypernetwork should see instead of a raw condition.

A hypernetwork with rectifiers and zero biases generates weights proportional to the norm of its input
(Ortiz et al., "Magnitude Invariant Parametrizations", ICLR 2024), so the norm should be kept constant,
or be passed as a feature of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt

import torch
from torch import Tensor, nn

from hyperrl.errors import BoundsError, ConfigError, ShapeError


class Encoder(nn.Module):
    """Maps conditions ``[..., input_dim]`` to ``[..., output_dim]``.

    Attributes:
        input_dim: Size of a condition.
        output_dim: Size of its encoding.
    """

    def __init__(self, input_dim: int, output_dim: int | None = None) -> None:
        super().__init__()
        if input_dim < 1:
            raise ConfigError(f"a condition needs at least 1 dimension, got {input_dim}")
        self.input_dim = input_dim
        self.output_dim = input_dim if output_dim is None else output_dim

    def update(self, condition: Tensor) -> None:
        """Let running statistics see a batch; encoders without statistics ignore it."""

    def probes(self, count: int) -> Tensor:
        """Conditions ``[N, input_dim]`` to measure feature statistics on where no real ones are given.

        Standard normal unless the encoder knows better.

        Args:
            count: How many are wanted; encoders with few different conditions give those.
        """
        return torch.randn(count, self.input_dim)

    def validate(self, condition: Tensor) -> None:
        """Refuse conditions of another size.

        Raises:
            ShapeError: If the last dimension is not ``input_dim``.
        """
        if condition.dim() < 1 or condition.shape[-1] != self.input_dim:
            raise ShapeError(
                f"expected a condition ending in {self.input_dim} numbers, got shape {tuple(condition.shape)}"
            )


class Identity(Encoder):
    """The condition as it is."""

    def forward(self, condition: Tensor) -> Tensor:
        """Return ``[..., d]`` unchanged."""
        return condition


class CosSin(Encoder):
    """``u -> (cos(pi u / 2), sin(pi u / 2))`` for coordinates with known bounds; the norm is sqrt(d).

    The map is periodic, so a value outside the bounds would alias one inside; it is refused.

    Args:
        low: Lower bound of each coordinate.
        high: Upper bound of each coordinate.

    Raises:
        ConfigError: If bounds are missing, infinite or not increasing.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__(len(low), 2 * len(low))
        lower, upper = torch.as_tensor(low).float(), torch.as_tensor(high).float()
        if lower.shape != upper.shape or not bool((torch.isfinite(upper - lower) & (upper > lower)).all()):
            raise ConfigError(f"cos/sin encoding needs finite bounds with low < high, got {low} and {high}")
        self.register_buffer("low", lower)
        self.register_buffer("high", upper)

    def probes(self, count: int) -> Tensor:
        """Conditions ``[count, d]``, uniform within the bounds."""
        return self.low + (self.high - self.low) * torch.rand(count, self.input_dim).to(self.low)

    def validate(self, condition: Tensor) -> None:
        """Refuse conditions of another size or outside the bounds.

        Raises:
            ShapeError: If the last dimension is not ``d``.
            BoundsError: If a value lies outside its bounds.
        """
        super().validate(condition)
        slack = 1e-6 * (self.high - self.low)
        outside = (condition < self.low - slack) | (condition > self.high + slack)
        if bool(outside.any()):
            column = int(outside.reshape(-1, self.input_dim).any(0).nonzero()[0])
            worst = condition[..., column].flatten()[outside[..., column].flatten()][0].item()
            raise BoundsError(
                f"coordinate {column} of a condition is {worst:g}, outside its bounds "
                f"[{self.low[column].item():g}, {self.high[column].item():g}]"
            )

    def forward(self, condition: Tensor) -> Tensor:
        """Encode ``[..., d]`` as ``[..., 2 d]``: all cosines, then all sines."""
        angle = (condition - self.low) / (self.high - self.low) * (pi / 2)
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class DirectionLogNorm(Encoder):
    """``z -> (sqrt(d) z / |z|, log |z|)``: constant norm without losing the magnitude."""

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim, input_dim + 1)

    def forward(self, condition: Tensor) -> Tensor:
        """Encode ``[..., d]`` as ``[..., d + 1]``."""
        norm = condition.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return torch.cat([condition * (sqrt(self.input_dim) / norm), norm.log()], dim=-1)


class RMS(Encoder):
    """``z -> z / rms(z)``: for latents of many dimensions, whose norm varies little."""

    def forward(self, condition: Tensor) -> Tensor:
        """Scale ``[..., d]`` to unit mean square."""
        return condition * (condition.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


class RunningNorm(Encoder):
    """Standardise with running mean and variance, then clip.

    Statistics move only in `update`. They are kept in double precision: in single precision a mean far from
    zero soon stops moving. Buffers carry ``running_`` in their names because Stable-Baselines3 copies exactly
    those to target networks.

    Args:
        input_dim: Size of a condition.
        clip: Bound on the standardised values.

    Raises:
        ConfigError: If the bound is not positive.
    """

    running_mean: Tensor
    running_var: Tensor
    running_count: Tensor

    def __init__(self, input_dim: int, clip: float = 10.0) -> None:
        super().__init__(input_dim)
        if not clip > 0:
            raise ConfigError(f"the clip of a running normalisation must be positive, got {clip}")
        self.clip = clip
        self.register_buffer("running_mean", torch.zeros(input_dim, dtype=torch.float64))
        self.register_buffer("running_var", torch.ones(input_dim, dtype=torch.float64))
        self.register_buffer("running_count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, condition: Tensor) -> None:
        """Merge a batch ``[..., d]`` into the statistics (Chan et al.'s parallel formula)."""
        batch = condition.reshape(-1, self.input_dim).double()
        if not batch.shape[0]:
            return
        count = self.running_count + batch.shape[0]
        delta = batch.mean(0) - self.running_mean
        weight = batch.shape[0] / count
        variance = self.running_var * (1 - weight) + batch.var(0, correction=0) * weight
        self.running_var.copy_(variance + delta.square() * weight * (1 - weight))
        self.running_mean.add_(delta * weight)
        self.running_count.copy_(count)

    def forward(self, condition: Tensor) -> Tensor:
        """Standardise ``[..., d]``."""
        scaled = (condition - self.running_mean) * (self.running_var + 1e-8).rsqrt()
        return scaled.clamp(-self.clip, self.clip).to(condition.dtype)


class EmbeddingTable(Encoder):
    """One learned vector per task, robot or condition id, kept at norm sqrt(dim).

    Args:
        entries: Number of ids.
        dim: Size of an embedding.
        fixed_norm: Whether embeddings are rescaled to norm sqrt(dim) when they are read.

    Raises:
        ConfigError: If a size is not positive.
    """

    def __init__(self, entries: int, dim: int, fixed_norm: bool = True) -> None:
        super().__init__(1, dim)
        if entries < 1 or dim < 1:
            raise ConfigError(f"an embedding table needs positive sizes, got {entries} entries of size {dim}")
        self.fixed_norm = fixed_norm
        self.table = nn.Parameter(torch.randn(entries, dim))

    def probes(self, count: int) -> Tensor:
        """Every id ``[entries, 1]``, whatever the count."""
        return torch.arange(self.table.shape[0], device=self.table.device).unsqueeze(-1)

    def validate(self, condition: Tensor) -> None:
        """Refuse ids that are not integers in ``[0, entries)``, shaped ``[..., 1]``.

        Raises:
            ShapeError: If the last dimension is not 1 or the values are no integers.
            BoundsError: If an id is out of range.
        """
        super().validate(condition)
        if condition.is_floating_point() and not bool((condition == condition.round()).all()):
            raise ShapeError("an embedding table takes integer ids, got fractional values")
        entries = self.table.shape[0]
        if condition.numel() and (int(condition.min()) < 0 or int(condition.max()) >= entries):
            raise BoundsError(
                f"ids must lie in [0, {entries - 1}], got {int(condition.min())} to {int(condition.max())}"
            )

    def forward(self, condition: Tensor) -> Tensor:
        """Look up ``[..., 1]`` as ``[..., dim]``."""
        rows: Tensor = self.table[condition.squeeze(-1).long()]
        if not self.fixed_norm:
            return rows
        scaled: Tensor = rows * (sqrt(self.output_dim) / rows.norm(dim=-1, keepdim=True).clamp_min(1e-6))
        return scaled
