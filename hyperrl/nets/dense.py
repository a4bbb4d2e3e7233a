"""Dense layers by oneDNN where the processor's BLAS leaves half of its speed unused."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Below so many multiplications the Python side of a custom function costs more than it saves.
_LARGE = 2**25


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``, equal to ``F.linear`` up to rounding.

    Args:
        x: ``[..., in]``.
        weight: ``[out, in]``.
        bias: ``[out]`` or None.
    """
    large = x.dim() == 2 and x.shape[0] * weight.numel() >= _LARGE
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and not torch.compiler.is_compiling()
    if large and plain and not torch._C._are_functorch_transforms_active() and slow_blas():
        return _onednn(x, weight, bias)
    return functional.linear(x, weight, bias)


@cache
def slow_blas() -> bool:
    """Whether MKL, which takes an AVX2 path on processors of other makers, runs on one that has AVX-512."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


class DenseLinear(nn.Linear):
    """``nn.Linear`` that multiplies by `dense`; parameters and initialisation are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        return dense(x, self.weight, self.bias)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out: Tensor = _Dense.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _onednn(gradient, weight.t()) if needs[0] else None,
            _onednn(gradient.t(), x.t()) if needs[1] else None,
            gradient.sum(0) if needs[2] else None,
        )
