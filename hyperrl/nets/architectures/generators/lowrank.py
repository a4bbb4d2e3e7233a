"""Products of low-rank factors of many shapes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hyperrl.nets.architectures.generators.shapes import Shape


def multiply(rows: Tensor, columns: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """Return ``scale * rows columns^T`` of each layer, one after the other.

    Args:
        rows: ``[sum of fan_out, r]``.
        columns: ``[sum of fan_in, r]``.
        shapes: The layers, those of one shape together.
    """
    result: Tensor = _Multiply.apply(rows, columns, shapes)  # type: ignore[no-untyped-call]
    return result


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, shapes: Sequence[Shape]) -> Tensor:
        ctx.save_for_backward(rows, columns)
        ctx.shapes = shapes
        last = shapes[-1]
        weights = rows.new_empty(last.start + last.count * last.fan_out * last.fan_in)
        for shape in shapes:
            out = shape.weights(weights)
            factors = shape.rows(rows), shape.columns(columns).transpose(1, 2)
            torch.baddbmm(out, *factors, beta=0, alpha=shape.scale, out=out)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, columns = ctx.saved_tensors
        to_rows, to_columns = torch.empty_like(rows), torch.empty_like(columns)
        gradient = gradient.contiguous()
        for shape in ctx.shapes:
            part = shape.weights(gradient)
            out = shape.rows(to_rows)
            torch.baddbmm(out, part, shape.columns(columns), beta=0, alpha=shape.scale, out=out)
            out = shape.columns(to_columns)
            torch.baddbmm(out, part.transpose(1, 2), shape.rows(rows), beta=0, alpha=shape.scale, out=out)
        return to_rows, to_columns, None
