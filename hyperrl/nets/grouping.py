"""Application of weights that were generated once per distinct condition to rows in any order."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperrl.errors import BoundsError, ShapeError
from hyperrl.nets.generated import Generated
from hyperrl.nets.target import TargetMLP


def apply_grouped(target: TargetMLP, generated: Generated, ids: Tensor, x: Tensor) -> Tensor:
    """Apply U networks to B rows, row i by network ``ids[i]``.

    Rows are sorted into padded groups, so each network's matrices are formed and multiplied once.

    Args:
        target: The target network.
        generated: Weights with one batch dimension ``[U]``.
        ids: ``[B]`` integers in ``[0, U)``.
        x: ``[B, in]``.

    Returns:
        ``[B, out]`` in the order of ``x``.

    Raises:
        ShapeError: If the shapes do not fit or the ids are no integers.
        BoundsError: If an id has no network.
    """
    if len(generated.batch_shape) != 1 or ids.dim() != 1 or x.dim() != 2 or x.shape[0] != ids.shape[0]:
        raise ShapeError(
            f"expected weights for [U] conditions, ids [B] and rows [B, in], "
            f"got {tuple(generated.batch_shape)}, {tuple(ids.shape)} and {tuple(x.shape)}"
        )
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ShapeError(f"ids must be integers, got {ids.dtype}")
    ids = ids.long()
    groups = generated.batch_shape[0]
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= groups):
        raise BoundsError(f"ids must lie in [0, {groups - 1}], got {int(ids.min())} to {int(ids.max())}")
    counts = torch.bincount(ids, minlength=groups)
    longest = int(counts.max()) if ids.numel() else 1
    order = torch.argsort(ids, stable=True)
    starts = counts.cumsum(0) - counts
    slots = torch.empty_like(ids)
    slots[order] = torch.arange(ids.shape[0], device=ids.device) - starts[ids[order]]
    padded = x.new_zeros(groups, longest, x.shape[1]).index_put((ids, slots), x)
    return target(generated, padded)[ids, slots]
