"""Orders in which ``y = x @ (base + sum_k c_k Theta_k)`` can be evaluated, and the choice among them.

All orders cost ``2 * B * K * in * out`` operations when every row has its own condition; they differ in
the intermediate that they write per row: ``in * out`` (materialise), ``K * in`` (outer) or ``K * out``
(xw). With several rows per condition, forming the matrix once per condition is cheaper.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hyperrl.nets.dense import matmul
from hyperrl.nets.generated import GeneratedWeight

Contraction = Literal["auto", "materialise", "outer", "xw"]
CONTRACTIONS: tuple[str, ...] = ("auto", "materialise", "outer", "xw")

# Fitted to forward and backward times on a CPU (`hyperrl bench contraction`), in numbers written. Matrices
# are written and read again, and forming them costs as much as ten more of them, however few they are. The
# outer product and its two gradients are elementwise passes. The xw order copies the bank once with its first
# two dimensions exchanged, and each template's product costs 48 numbers besides its own. Where there is
# little to compute the count of operations decides: materialising takes the fewest.
_MATRIX_WRITE = 1.6
_EXTRA_MATRICES = 10
_OUTER_WRITE = 2.0
_BANK_COPY = 0.6
_EXTRA_PRODUCT = 48
_LITTLE_WORK = 600_000
# So many dot products or more have a far slower backward pass as a batch of matrix products.
_MANY_DOTS = 32


def choose(conditions: int, rows: int, k: int, fan_in: int, fan_out: int) -> Contraction:
    """Pick the cheapest order for a template bank, by the numbers that each order writes.

    Args:
        conditions: Distinct conditions G.
        rows: Inputs N per condition.
        k: Templates K.
        fan_in: Inputs of the layer.
        fan_out: Outputs of the layer.
    """
    if rows > 1 or conditions == 1 or conditions * k * fan_in * fan_out <= _LITTLE_WORK:
        return "materialise"
    matrices = _MATRIX_WRITE * (conditions + _EXTRA_MATRICES) * fan_in * fan_out
    outer = _OUTER_WRITE * conditions * k * fan_in
    if fan_out == 1:
        xw = float(conditions * k)
    else:
        xw = conditions * k * (fan_out + _EXTRA_PRODUCT) + _BANK_COPY * k * fan_in * fan_out
    if matrices <= min(outer, xw):
        return "materialise"
    return "outer" if outer <= xw else "xw"


def apply_weight(
    weight: GeneratedWeight,
    x: Tensor,
    contraction: Contraction = "auto",
    bias: Tensor | None = None,
) -> Tensor:
    """Multiply inputs by a generated matrix and add a bias.

    Args:
        weight: The matrix; its batch dimensions must be flattened to ``[G]``.
        x: ``[G, N, in]``; ``[G, in]`` with one row per condition; or ``[N, in]`` for a weight without a
            batch dimension.
        contraction: Evaluation order of the template bank.
        bias: ``[G, out]``, ``[out]``, or None.

    Returns:
        The shape of ``x`` with ``out`` in place of ``in``.
    """
    order, bank, coefficients = contraction, weight.bank, weight.coefficients
    if bank is not None and coefficients is not None:
        if coefficients.dim() == 1:
            order = "materialise"
        elif order == "auto":
            k, fan_in, fan_out = bank.shape
            order = choose(x.shape[0], x.shape[1] if x.dim() == 3 else 1, k, fan_in, fan_out)
        if order == "materialise":
            return _product(x, _dense(weight), _by_row(bias, x))
    if x.dim() == 3 and x.shape[1] == 1:
        # Two dimensions take the fused multiply-and-add, and spare the backward pass its reshapes.
        return _apply_parts(weight, x.squeeze(1), order, bias).unsqueeze(1)
    return _apply_parts(weight, x, order, _by_row(bias, x))


def _by_row(value: Tensor | None, x: Tensor) -> Tensor | None:
    """A vector per condition ``[G, out]`` as it applies to ``x``: ``[G, 1, out]`` if there are groups."""
    return value.unsqueeze(1) if value is not None and value.dim() == 2 and x.dim() == 3 else value


def _apply_parts(weight: GeneratedWeight, x: Tensor, order: Contraction, bias: Tensor | None) -> Tensor:
    """Apply the parts of a weight one after the other and add up what they give."""
    # A scale acts on the product alone, so the bias has to wait for it.
    total = bias if weight.scale is None else None
    if weight.base is not None:
        total = _product(x, weight.base, total)
    if weight.bank is not None and weight.coefficients is not None:
        coefficients = weight.coefficients if x.dim() == 2 else weight.coefficients.unsqueeze(1)
        evaluate = _outer if order == "outer" else _xw
        total = evaluate(weight.bank, coefficients, x, total)
    if weight.left is not None and weight.right is not None:
        total = _plus(_product(_product(x, weight.left), weight.right), total)
    assert total is not None  # a weight always has at least one part
    if weight.scale is None:
        return total
    return _plus(total * (weight.scale if x.dim() == 2 else weight.scale.unsqueeze(-2)), bias)


def _dense(weight: GeneratedWeight) -> Tensor:
    """The matrix ``[*batch, in, out]``, its base added while the bank is multiplied."""
    base, bank, coefficients = weight.base, weight.bank, weight.coefficients
    if base is None or bank is None or coefficients is None:
        return weight.dense()
    if base.dim() != 2 or coefficients.dim() != 2 or weight.left is not None or weight.scale is not None:
        return weight.dense()
    k, fan_in, fan_out = bank.shape
    numbers = fan_in * fan_out
    flat = matmul(coefficients, bank.reshape(k, numbers), base.reshape(numbers))
    return flat.view(-1, fan_in, fan_out)


def _product(x: Tensor, matrix: Tensor, addend: Tensor | None = None) -> Tensor:
    """``x @ matrix + addend`` for a matrix shared by all rows, or one for each condition."""
    if matrix.dim() == 2:
        return matmul(x, matrix, addend)
    single = x.dim() == 2
    if matrix.shape[-1] == 1 and matrix.shape[0] >= _MANY_DOTS and (single or x.shape[1] == 1):
        vectors = matrix.squeeze(-1) if single else matrix.transpose(1, 2)
        return _plus((x * vectors).sum(-1, keepdim=True), addend)
    if single:
        return _plus(torch.bmm(x.unsqueeze(1), matrix).squeeze(1), addend)
    return _plus(torch.bmm(x, matrix), addend)


def _plus(value: Tensor, addend: Tensor | None) -> Tensor:
    return value if addend is None else value + addend


def _outer(bank: Tensor, coefficients: Tensor, x: Tensor, addend: Tensor | None) -> Tensor:
    """(c ⊗ x) @ Theta: writes K * in numbers per row."""
    k, fan_in, fan_out = bank.shape
    outer = (coefficients.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)
    return _product(outer, bank.reshape(k * fan_in, fan_out), addend)


def _xw(bank: Tensor, coefficients: Tensor, x: Tensor, addend: Tensor | None) -> Tensor:
    """Coefficients contracted with (x @ Theta): writes K * out numbers per row."""
    k, fan_in, fan_out = bank.shape
    if fan_out == 1:
        return _plus((matmul(x, bank.reshape(k, fan_in).t()) * coefficients).sum(-1, keepdim=True), addend)
    projected = matmul(x, bank.permute(1, 0, 2).reshape(fan_in, k * fan_out)).unflatten(-1, (k, fan_out))
    return _plus(torch.matmul(coefficients.unsqueeze(-2), projected).squeeze(-2), addend)
