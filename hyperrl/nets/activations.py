"""Activations by name, so that a spec stays plain data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def identity(x: Tensor) -> Tensor:
    """Return the input."""
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": identity,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "leaky_relu": functional.leaky_relu,
}

# Variance gain c of Hyperfan (Chang et al., ICLR 2020): 2 behind a rectifier, 1 otherwise.
RECTIFIERS = frozenset({"relu", "leaky_relu", "elu", "gelu", "silu"})
