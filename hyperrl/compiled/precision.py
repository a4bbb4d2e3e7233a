"""The precision of matrix products in float32, set for a moment and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS: tuple[str, ...] = ("highest", "high", "medium")
"""``highest`` is float32; ``high`` may use TF32 and ``medium`` bfloat16 inside products, where there is
hardware for it."""


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Compute float32 matrix products in a precision, and restore the process's own one at the end.

    torch keeps it for the whole process: left set, it would change what every other network computes.

    Args:
        precision: One of `PRECISIONS`.
    """
    before = torch.get_float32_matmul_precision()
    if precision == before:
        yield
        return
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
