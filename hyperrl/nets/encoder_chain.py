"""Condition encoders by name, and several of them one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError, ShapeError, unknown_name
from hyperrl.nets.encoders import RMS, DirectionLogNorm, EmbeddingTable, Encoder, Identity, RunningNorm


class Chain(Encoder):
    """Encoders one after another.

    Args:
        encoders: At least one; sizes must fit. An embedding table can only be the first.

    Raises:
        ConfigError: If there is no encoder or they do not fit together.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        if not encoders:
            raise ConfigError("a chain of encoders needs at least 1 encoder")
        for first, second in pairwise(encoders):
            if isinstance(second, EmbeddingTable):
                raise ConfigError(
                    "an embedding table takes ids: it can only be the first of a chain of encoders"
                )
            if first.output_dim != second.input_dim:
                raise ConfigError(
                    f"{type(first).__name__} gives {first.output_dim} numbers but "
                    f"{type(second).__name__} takes {second.input_dim}"
                )
        super().__init__(encoders[0].input_dim, encoders[-1].output_dim)
        self.encoders = nn.ModuleList(encoders)

    def _steps(self) -> list[Encoder]:
        return [step for step in self.encoders if isinstance(step, Encoder)]

    def update(self, condition: Tensor) -> None:
        """Update each encoder with what it would receive."""
        for encoder in self._steps():
            encoder.update(condition)
            condition = encoder(condition)

    def probes(self, count: int) -> Tensor:
        """Conditions that suit the first encoder."""
        return self._steps()[0].probes(count)

    @torch.no_grad()
    def validate(self, condition: Tensor) -> None:
        """Validate what each encoder would receive, as far as encoders have demands of their own.

        Raises:
            ShapeError: If the condition has another size.
            BoundsError: If an encoder has bounds and would receive a value outside.
        """
        steps = self._steps()
        demanding = [index for index, step in enumerate(steps) if type(step).validate is not Encoder.validate]
        steps[0].validate(condition)
        for index in range(1, max(demanding, default=0) + 1):
            condition = steps[index - 1](condition)
            steps[index].validate(condition)

    def forward(self, condition: Tensor) -> Tensor:
        """Encode step by step."""
        for encoder in self._steps():
            condition = encoder(condition)
        return condition


_BY_NAME: dict[str, Callable[[int], Encoder]] = {
    "identity": Identity,
    "direction_log_norm": DirectionLogNorm,
    "rms": RMS,
    "running_norm": RunningNorm,
}
ENCODERS: tuple[str, ...] = tuple(_BY_NAME)


def make_encoder(encoder: str | Encoder | Sequence[str | Encoder], condition_dim: int) -> Encoder:
    """Build an encoder from a name, chain several, or pass an `Encoder` through.

    `CosSin` and `EmbeddingTable` need bounds or sizes and are passed as objects.

    Args:
        encoder: A name, an encoder, or a sequence of these.
        condition_dim: Size of a condition.

    Raises:
        UnknownNameError: If a name is unknown.
        ShapeError: If an encoder object takes another number of dimensions.
        ConfigError: If encoders do not fit together.
    """
    if isinstance(encoder, Encoder):
        if encoder.input_dim != condition_dim:
            raise ShapeError(
                f"the encoder takes {encoder.input_dim} dimensions, the condition has {condition_dim}"
            )
        return encoder
    if isinstance(encoder, str):
        if encoder not in _BY_NAME:
            raise unknown_name("encoder", encoder, ENCODERS)
        return _BY_NAME[encoder](condition_dim)
    steps: list[Encoder] = []
    for step in encoder:
        steps.append(make_encoder(step, steps[-1].output_dim if steps else condition_dim))
    return steps[0] if len(steps) == 1 else Chain(steps)
