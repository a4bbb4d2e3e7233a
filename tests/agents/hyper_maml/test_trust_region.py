"""The outer step: products and solutions against matrices, and what a step promises."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, hessian

from hyperrl_agents.hyper_maml.inner import InnerRule, adapted
from hyperrl_agents.hyper_maml.trust_region import (
    TrustRegion,
    conjugate_gradient,
    flat_gradient,
    hessian_product,
    take_step,
)
from tests.agents.hyper_maml.cases import make_actor
from tests.agents.hyper_maml.test_inner import objective_of


def spd(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return root @ root.T + torch.eye(size), torch.randn(size, generator=generator, dtype=torch.float64)


def test_conjugate_gradients_solve_what_a_factorisation_solves():
    matrix, target = spd(12)
    found = conjugate_gradient(lambda v: matrix @ v, target, 40)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, target), rtol=1e-4, atol=1e-5)


def test_conjugate_gradients_are_the_best_of_their_krylov_space():
    """After k iterations: the minimiser of x'Hx / 2 - b'x over b, Hb, ..., H^(k-1) b."""
    matrix, target = spd(8)
    for steps in (1, 2, 3):
        basis = torch.stack([torch.linalg.matrix_power(matrix, k) @ target for k in range(steps)], 1)
        basis = torch.linalg.qr(basis)[0]
        best = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ target)
        found = conjugate_gradient(lambda v: matrix @ v, target, steps)
        torch.testing.assert_close(found, best, rtol=1e-8, atol=1e-9)


def test_small_gradients_are_solved_for_as_large_ones():
    matrix, target = spd(6)
    small = conjugate_gradient(lambda v: matrix @ v, 1e-9 * target, 30)
    torch.testing.assert_close(small * 1e9, conjugate_gradient(lambda v: matrix @ v, target, 30))


@pytest.mark.parametrize("first_order", [True, False])
def test_products_are_those_of_the_matrix_of_second_derivatives(first_order):
    actor = make_actor("mlp")
    objective = objective_of(actor, InnerRule("all", 0.3, first_order))
    _, divergence = objective()
    parameters = list(actor.parameters())
    product = hessian_product([lambda: divergence], parameters, damping=0.25)
    size = sum(p.numel() for p in parameters)
    columns = [product(column) for column in torch.eye(size, dtype=torch.float64)]
    found = torch.stack(columns, 1)
    if first_order:
        # The adapted parameters are a constant away: the matrix is theirs, task by task by torch.func.
        expected = sum(_of_task(actor, objective, task) for task in range(3)) / 3
        torch.testing.assert_close(found, expected + 0.25 * torch.eye(size), rtol=1e-9, atol=1e-10)
    else:
        gradient = flat_gradient(objective()[1], parameters, create_graph=True)
        expected = torch.stack([flat_gradient(one, parameters, retain_graph=True) for one in gradient])
        torch.testing.assert_close(found, expected + 0.25 * torch.eye(size), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found, found.T, rtol=1e-8, atol=1e-9)
    assert torch.linalg.eigvalsh(found).min() > 0.2


def _of_task(actor, objective, task):
    """Second derivatives of one task's divergence at its adapted parameters."""
    own = adapted(actor, actor.by_name(), objective.conditions, objective.before, objective.rule)
    names, shapes = list(own), [value.shape[1:] for value in own.values()]
    at = torch.cat([value[task].detach().reshape(-1) for value in own.values()])
    states = objective.after.states[task][objective.after.mask[task]]
    old_mean = objective.old.mean[task][objective.after.mask[task]]
    old_std = objective.old.log_std[task, 0].exp()

    def divergence(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        values = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        network = {"weights": values["network.weights"]}
        flat = functional_call(actor.network, network, (torch.zeros(0, dtype=torch.float64),))
        w1, b1, w2, b2 = flat.split([15, 5, 10, 2])
        mean = torch.tanh(states @ w1.view(5, 3).T + b1) @ w2.view(2, 5).T + b2
        std = values["log_std"].exp()
        each = (old_std / std).log() + (std**2 + (mean - old_mean) ** 2) / (2 * old_std**2) - 0.5
        return each.sum(1).mean()

    return hessian(divergence)(at)


@pytest.mark.parametrize("kind", ["hyper", "mlp"])
@pytest.mark.parametrize("target_kl", [1e-2, 1e-4])
def test_a_step_improves_the_loss_within_the_region(kind, target_kl):
    actor = make_actor(kind)
    objective = objective_of(actor, InnerRule("all", 0.1))
    before = objective()[0].item()
    step = take_step(list(actor.parameters()), [objective], TrustRegion(target_kl=target_kl))
    loss, divergence = (value.item() for value in objective())
    assert step.moved
    assert loss < before
    assert 0.2 * target_kl < divergence < target_kl
    assert (step.loss_before, step.loss_after) == pytest.approx((before, loss))
    assert step.divergence == pytest.approx(divergence)


def test_a_step_is_the_natural_gradient_scaled_to_the_region():
    """On a quadratic divergence and a linear loss the whole step is known."""
    matrix, slope = spd(5)
    x = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    region = TrustRegion(target_kl=0.01, cg_damping=0.0, cg_max_steps=50)
    step = take_step([x], [lambda: (slope @ x, 0.5 * x @ matrix @ x)], region)
    natural = torch.linalg.solve(matrix, slope)
    expected = -natural * (2 * 0.01 / (slope @ natural)) ** 0.5
    # The whole step lies on the border: rounding decides whether it is within.
    assert step.tries in (1, 2)
    torch.testing.assert_close(x.detach(), 0.8 ** (step.tries - 1) * expected, rtol=1e-6, atol=1e-9)


def test_where_no_length_is_good_nothing_moves():
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    # The loss falls where it is, and is larger at every length that is tried.
    start = x.detach().clone()

    def objective():
        distance = (x - start).square().sum()
        return -(x - start).sum() + 1e9 * distance, distance

    step = take_step([x], [objective], TrustRegion(line_search_max_iter=3))
    assert not step.moved
    assert torch.equal(x, start)
    assert (step.tries, step.divergence) == (3, 0.0)
    assert step.loss_after == step.loss_before


def test_without_a_direction_nothing_is_tried():
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    step = take_step([x], [lambda: (0 * x.sum(), x.square().sum())], TrustRegion())
    assert (step.tries, step.moved) == (0, False)
    assert torch.equal(x, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("first_order", [True, False])
def test_a_step_in_parts_is_the_step_at_once(first_order):
    steps, ends = [], []
    for tasks in (3, 2):
        actor = make_actor("hyper")
        parts = objective_of(actor, InnerRule("all", 0.05, first_order)).parts(tasks)
        assert sum(part.share for part in parts) == pytest.approx(1)
        steps.append(take_step(list(actor.parameters()), parts, TrustRegion()))
        ends.append(torch.nn.utils.parameters_to_vector(actor.parameters()).detach())
    assert steps[0].moved
    assert steps[0].loss_after == pytest.approx(steps[1].loss_after)
    assert steps[0].divergence == pytest.approx(steps[1].divergence)
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-8)
