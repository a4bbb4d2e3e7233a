"""Target networks, moved with one fused call instead of a loop over parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def polyak_update(params: Sequence[Tensor], target_params: Sequence[Tensor], tau: float) -> None:
    """``target <- (1 - tau) target + tau parameter``, in place.

    Args:
        params: The online network's tensors.
        target_params: The target network's tensors, in the same order.
        tau: Weight of the online network; 1 copies.
    """
    if target_params:
        torch._foreach_lerp_(list(target_params), list(params), tau)
