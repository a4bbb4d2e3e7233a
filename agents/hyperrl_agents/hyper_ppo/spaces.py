"""Spaces of architectures as settings give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets.architectures import ArchitectureSpace

PRESETS = ("cpu", "paper")


def make_space(architectures: Any, inputs: int, outputs: int) -> ArchitectureSpace:
    """Build a space.

    Args:
        architectures: ``"cpu"`` (155 architectures, widths 4 to 64, one to three hidden layers), ``"paper"``
            (2,800, widths 4 to 256, one to four), a mapping with ``widths`` and ``depths``, of which it is
            every combination, or a list of architectures such as ``[[8], [16, 16]]``.
        inputs: Size of an observation.
        outputs: Size of an action.

    Raises:
        ConfigError: They make no space.
        UnknownNameError: There is no such preset or key.
    """
    if isinstance(architectures, ArchitectureSpace):
        architectures = architectures.architectures
    if isinstance(architectures, str):
        if architectures not in PRESETS:
            raise unknown_name("space of architectures", architectures, PRESETS)
        space: ArchitectureSpace = getattr(ArchitectureSpace, architectures)(inputs, outputs)
        return space
    if isinstance(architectures, Mapping):
        for key in architectures:
            if key not in ("widths", "depths"):
                raise unknown_name("key of architectures", str(key), ("widths", "depths"))
        if len(architectures) < 2:
            raise ConfigError(
                "architectures needs both widths and depths, for example {widths = [8, 16], depths = [1, 2]}"
            )
        return ArchitectureSpace.grid(inputs, outputs, architectures["widths"], architectures["depths"])
    if not isinstance(architectures, Sequence):
        raise ConfigError(
            f"architectures must be 'cpu', 'paper', a table of widths and depths or a list such as "
            f"[[8], [16, 16]], got {architectures!r}"
        )
    return ArchitectureSpace(inputs, outputs, architectures)
