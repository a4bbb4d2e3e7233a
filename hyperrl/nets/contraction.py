"""Orders in which ``y = x @ (sum_k c_k Theta_k)`` can be evaluated, and the choice among them.

All orders cost ``2 * B * K * in * out`` operations when every row has its own condition; they differ in
the intermediate that they write per row: ``in * out`` (materialise), ``K * in`` (outer) or ``K * out``
(xw). With several rows per condition, forming the matrix once per condition is cheaper.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hyperrl.nets.generated import GeneratedWeight

Contraction = Literal["auto", "materialise", "outer", "xw"]
CONTRACTIONS: tuple[str, ...] = ("auto", "materialise", "outer", "xw")


def choose(conditions: int, rows: int, k: int, fan_in: int, fan_out: int) -> Contraction:
    """Pick the cheapest order for a template bank.

    Args:
        conditions: Distinct conditions G.
        rows: Inputs N per condition.
        k: Templates K.
        fan_in: Inputs of the layer.
        fan_out: Outputs of the layer.
    """
    if rows > 1 or conditions == 1 or k >= max(fan_in, fan_out):
        return "materialise"
    return "outer" if fan_in <= fan_out else "xw"


def apply_weight(weight: GeneratedWeight, x: Tensor, contraction: Contraction = "auto") -> Tensor:
    """Multiply ``x [G, N, in]`` (or ``[N, in]`` for weights without a batch dimension) by a generated matrix.

    Args:
        weight: The matrix; its batch dimensions must be flattened to ``[G]``.
        x: Inputs.
        contraction: Evaluation order of the template bank.

    Returns:
        ``[G, N, out]`` (or ``[N, out]``).
    """
    if x.dim() == 2:
        return x @ weight.dense()
    total: Tensor | None = None
    if weight.bank is not None and weight.coefficients is not None:
        k, fan_in, fan_out = weight.bank.shape
        conditions, rows = x.shape[0], x.shape[1]
        order = choose(conditions, rows, k, fan_in, fan_out) if contraction == "auto" else contraction
        if order == "materialise":
            return _batched(x, weight.dense())
        total = (
            _outer(weight.bank, weight.coefficients, x)
            if order == "outer"
            else _xw(weight.bank, weight.coefficients, x)
        )
    if weight.base is not None:
        base = _batched(x, weight.base)
        total = base if total is None else total + base
    if weight.left is not None and weight.right is not None:
        low_rank = _batched(_batched(x, weight.left), weight.right)
        total = low_rank if total is None else total + low_rank
    assert total is not None  # a weight always has at least one part
    return total if weight.scale is None else total * weight.scale.unsqueeze(1)


def _batched(x: Tensor, matrix: Tensor) -> Tensor:
    return torch.bmm(x, matrix) if matrix.dim() == 3 else x @ matrix


def _outer(bank: Tensor, coefficients: Tensor, x: Tensor) -> Tensor:
    """(c ⊗ x) @ Theta: writes K * in numbers per row."""
    k, fan_in, fan_out = bank.shape
    product = coefficients[:, None, :, None] * x[:, :, None, :]
    return product.flatten(-2) @ bank.reshape(k * fan_in, fan_out)


def _xw(bank: Tensor, coefficients: Tensor, x: Tensor) -> Tensor:
    """c contracted with (x @ Theta): writes K * out numbers per row."""
    k, fan_in, fan_out = bank.shape
    if fan_out == 1:
        return ((x @ bank.view(k, fan_in).t()) * coefficients[:, None, :]).sum(-1, keepdim=True)
    projected = (x @ bank.permute(1, 0, 2).reshape(fan_in, k * fan_out)).unflatten(-1, (k, fan_out))
    return torch.matmul(coefficients[:, None, None, :], projected).squeeze(-2)
