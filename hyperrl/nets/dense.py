"""Dense layers by oneDNN where the processor's BLAS leaves half of its speed unused."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from hyperrl.errors import ConfigError

_VARIABLE = "HYPERRL_ONEDNN"
# Below so many multiplications the Python side of a custom function costs more than it saves.
_LARGE = 2**25


def matmul(x: Tensor, matrix: Tensor, addend: Tensor | None = None) -> Tensor:
    """``x @ matrix + addend``, equal to torch's up to rounding.

    Args:
        x: ``[..., in]``.
        matrix: ``[in, out]``.
        addend: ``[out]``, the shape of the result, or None.
    """
    if x.dim() != 2:
        return x @ matrix if addend is None else x @ matrix + addend
    if x.shape[0] * matrix.numel() >= _LARGE and _fits(x):
        if addend is None or addend.dim() == 1:
            return _onednn(x, matrix.t(), addend)
        return _onednn(x, matrix.t()) + addend
    return x @ matrix if addend is None else torch.addmm(addend, x, matrix)


def _fits(x: Tensor) -> bool:
    """Whether oneDNN takes this input, and is faster than what torch would call."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    # The compiler has no use for oneDNN's operator.
    if torch.compiler.is_compiling() or get_proxy_mode() is not None:
        return False
    return prefers_onednn() and not torch._C._are_functorch_transforms_active()


@cache
def prefers_onednn() -> bool:
    """Whether oneDNN multiplies large matrices here rather than the BLAS of torch.

    By itself where MKL, which takes an AVX2 path on processors of other makers, runs on one that has AVX-512.
    That goes by the maker's name and is never measured, so that a run computes the same bits however busy the
    machine is. `HYPERRL_ONEDNN=1` or `0` in the environment decides otherwise.

    Raises:
        ConfigError: The variable has another value.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    wish = os.environ.get(_VARIABLE, "")
    if wish:
        if wish not in ("0", "1"):
            raise ConfigError(f"{_VARIABLE} must be 0 or 1, got {wish!r}")
        return wish == "1"
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


class DenseLinear(nn.Linear):
    """``nn.Linear`` that multiplies as `matmul` does; parameters and initialisation are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        if x.dim() == 2 and x.shape[0] * self.weight.numel() >= _LARGE and _fits(x):
            return _onednn(x, self.weight, self.bias)
        return super().forward(x)


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
