"""What a policy costs on a robot: parameters, multiply-accumulates, flash, RAM, time.

Counts of parameters, multiply-accumulates and weight bytes are exact; the size of code and all times are
estimates, see `hyperrl.exporters.microcontrollers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hyperrl.errors import ConfigError
from hyperrl.exporters.microcontrollers import MICROCONTROLLERS, microcontroller
from hyperrl.ranges import whole

CODE_BYTES = 1500
"""Estimate of the compiled functions of the C99 exporter without weights, and without the C library's own."""
WEIGHT_BITS = (32, 8)
_FLOAT = 4


@dataclass(frozen=True)
class Budget:
    """The cost of one policy.

    Attributes:
        sizes: Sizes from the observation to the action.
        weight_bits: 32, or 8 for hidden layers of int8 weights.
        normalised: Whether it normalises its observations.
        parameters: Weights and biases.
        macs: Multiply-accumulates for one action.
        weight_bytes: Weights, biases and, for int8, one scale for each row.
        normaliser_bytes: Three numbers for each observation, where it normalises.
        ram_bytes: Buffers of the C99 exporter's code, without the stack.
    """

    sizes: tuple[int, ...]
    weight_bits: int
    normalised: bool
    parameters: int
    macs: int
    weight_bytes: int
    normaliser_bytes: int
    ram_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Weights, normaliser and an estimate of the code."""
        return self.weight_bytes + self.normaliser_bytes + CODE_BYTES

    def microseconds(self, name: str) -> tuple[float, float]:
        """Estimate the time for one action: shortest and longest, in microseconds.

        The same range is given for int8: no published time tells them apart.

        Args:
            name: A name in `MICROCONTROLLERS`.

        Raises:
            UnknownNameError: There is no such microcontroller.
        """
        return microcontroller(name).microseconds(self.macs)

    def as_json(self) -> dict[str, Any]:
        """Return the budget with the times on every known microcontroller, as JSON values."""
        return {
            "sizes": list(self.sizes),
            "weight_bits": self.weight_bits,
            "parameters": self.parameters,
            "macs": self.macs,
            "flash_bytes": self.flash_bytes,
            "weight_bytes": self.weight_bytes,
            "normaliser_bytes": self.normaliser_bytes,
            "code_bytes_estimate": CODE_BYTES,
            "ram_bytes": self.ram_bytes,
            "microseconds_estimate": {
                name: [round(time, 2) for time in self.microseconds(name)] for name in MICROCONTROLLERS
            },
        }


def budget_of(sizes: Sequence[int], weight_bits: int = 32, *, normalised: bool = False) -> Budget:
    """Return the cost of a policy from its sizes alone.

    Args:
        sizes: Sizes from the observation to the action, for example [18, 16, 16, 4].
        weight_bits: 32, or 8 for hidden layers of int8 weights; the last layer is float32 always.
        normalised: Whether the policy normalises its observations.

    Raises:
        ConfigError: There are fewer than two sizes, one is no whole number of at least 1, or the bits are
            neither 32 nor 8.
    """
    if weight_bits not in WEIGHT_BITS:
        raise ConfigError(f"weight_bits must be 32 or 8, got {weight_bits!r}")
    if len(sizes) < 2:
        raise ConfigError(f"a policy has at least an input and an output size, got {list(sizes)}")
    checked = tuple(int(_SIZE.check("a size", size)) for size in sizes)
    macs = [inputs * outputs for inputs, outputs in pairwise(checked)]
    biases = sum(checked[1:])
    weight_bytes = _FLOAT * (sum(macs) + biases)
    # The buffers that hidden layers take turns in, and the observation, normalised or quantised.
    hidden = checked[1:-1]
    ram = _FLOAT * (max(hidden[0::2], default=0) + max(hidden[1::2], default=0))
    ram += _FLOAT * checked[0] if normalised else 0
    if weight_bits == 8:
        rows = sum(hidden)
        weight_bytes = sum(macs[:-1]) + _FLOAT * (macs[-1] + biases + rows)
        ram += max(checked[:-2], default=0)
    return Budget(
        checked,
        weight_bits,
        normalised,
        sum(macs) + biases,
        sum(macs),
        weight_bytes,
        3 * _FLOAT * checked[0] if normalised else 0,
        ram,
    )


_SIZE = whole(1, 1e9)
