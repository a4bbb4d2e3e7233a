"""One step of trust region policy optimisation (Schulman et al., ICML 2015) of any loss and divergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[], tuple[Tensor, Tensor]]
"""Returns a loss and a divergence from the policy before the step, at the parameters' present values."""

_CONVERGED = 1e-10  # Of the squared residual, as a share of what it was.


@dataclass(frozen=True)
class TrustRegion:
    """How large a step is.

    Attributes:
        target_kl: The largest divergence.
        cg_max_steps: Iterations of the conjugate gradient.
        cg_damping: What is added to the divergence's second derivatives.
        line_search_max_iter: Lengths that are tried.
        line_search_shrinking_factor: Each as a share of the one before.
    """

    target_kl: float = 1e-2
    cg_max_steps: int = 10
    cg_damping: float = 1e-5
    line_search_max_iter: int = 20
    line_search_shrinking_factor: float = 0.8


@dataclass(frozen=True)
class Step:
    """What came of a step.

    Attributes:
        loss_before: The loss.
        loss_after: The loss where the parameters are now.
        divergence: How far they are from where they were.
        tries: Lengths that were tried; 0 where there was no direction.
        moved: Whether one was good; otherwise the parameters are as they were.
    """

    loss_before: float
    loss_after: float
    divergence: float
    tries: int
    moved: bool


def take_step(parameters: Sequence[Tensor], parts: Sequence[Objective], region: TrustRegion) -> Step:
    """Change parameters, in place, so that the loss becomes smaller within the trust region.

    Args:
        parameters: Leaves that require gradients.
        parts: What is minimised, and how far it may go, is the sum of these. With several, only the graph of
            one is in memory at a time, and they are evaluated anew for each product.
        region: The region.
    """
    gradient = torch.zeros_like(torch.cat([parameter.detach().reshape(-1) for parameter in parameters]))
    before = 0.0
    for part in parts:
        loss, _ = part()
        before += loss.item()
        gradient += flat_gradient(loss, parameters)
    product = hessian_product([_divergence_of(part) for part in parts], parameters, region.cg_damping)
    direction = conjugate_gradient(product, gradient, region.cg_max_steps)
    curvature = float(direction @ product(direction))
    if not (math.isfinite(curvature) and curvature > 0):
        return Step(before, before, 0.0, 0, False)
    full = direction * math.sqrt(2 * region.target_kl / curvature)
    start = [parameter.detach().clone() for parameter in parameters]
    share = 1.0
    for tries in range(1, region.line_search_max_iter + 1):
        _move(parameters, start, full, -share)
        new_loss, new_divergence = _sum_of(parts)
        if new_loss < before and new_divergence < region.target_kl:
            return Step(before, new_loss, new_divergence, tries, True)
        share *= region.line_search_shrinking_factor
    _move(parameters, start, full, 0.0)
    return Step(before, before, 0.0, region.line_search_max_iter, False)


def flat_gradient(
    value: Tensor, parameters: Sequence[Tensor], *, create_graph: bool = False, retain_graph: bool = False
) -> Tensor:
    """Return the gradient of a number with respect to all parameters in one vector ``[P]``.

    Args:
        value: The number.
        parameters: The parameters; 0 for those that it does not depend on.
        create_graph: Whether the gradient is to be differentiated.
        retain_graph: Whether the graph is needed again.
    """
    parts = torch.autograd.grad(
        value,
        list(parameters),
        create_graph=create_graph,
        retain_graph=create_graph or retain_graph,
        materialize_grads=True,
    )
    return torch.cat([part.reshape(-1) for part in parts])


def hessian_product(
    values: Sequence[Callable[[], Tensor]], parameters: Sequence[Tensor], damping: float = 0.0
) -> Callable[[Tensor], Tensor]:
    """Return the product of a sum's second derivatives with a vector, without the matrix.

    Args:
        values: Give the terms of the sum. A single one is evaluated once, several anew for each product.
        parameters: What they are differentiated by.
        damping: Added on the diagonal.
    """
    kept = flat_gradient(values[0](), parameters, create_graph=True) if len(values) == 1 else None

    def product(vector: Tensor) -> Tensor:
        total = damping * vector
        for value in values:
            gradient = flat_gradient(value(), parameters, create_graph=True) if kept is None else kept
            total = total + flat_gradient(gradient @ vector, parameters, retain_graph=kept is not None)
        return total

    return product


@torch.no_grad()
def conjugate_gradient(product: Callable[[Tensor], Tensor], target: Tensor, steps: int) -> Tensor:
    """Solve ``H x = b`` for a positive definite matrix H that is only known by its products.

    Args:
        product: Multiplies a vector ``[P]`` with H.
        target: b, ``[P]``.
        steps: The most iterations; P of them are exact.

    Returns:
        x, ``[P]``.
    """
    solution = torch.zeros_like(target)
    residual, search = target.clone(), target.clone()
    size = residual @ residual
    enough = _CONVERGED * size
    for _ in range(steps):
        if not size > enough:
            break
        with torch.enable_grad():
            moved = product(search)
        length = size / (search @ moved)
        solution += length * search
        residual -= length * moved
        following = residual @ residual
        search = residual + following / size * search
        size = following
    return solution


def _divergence_of(part: Objective) -> Callable[[], Tensor]:
    return lambda: part()[1]


def _sum_of(parts: Sequence[Objective]) -> tuple[float, float]:
    values = [torch.stack(part()).detach() for part in parts]
    loss, divergence = torch.stack(values).sum(0).tolist()
    return loss, divergence


@torch.no_grad()
def _move(parameters: Sequence[Tensor], start: Sequence[Tensor], step: Tensor, share: float) -> None:
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, origin, part in zip(parameters, start, step.split(sizes), strict=True):
        parameter.copy_(origin + share * part.view_as(origin) if share else origin)
