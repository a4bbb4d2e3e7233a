"""The benchmark of contraction orders measures equal results; orders are right with bias and by rows."""

from __future__ import annotations

import itertools

import pytest
import torch

from hyperrl.bench.contraction import ORDERS, PASSES, Case, Layer, cases, measure, overview
from hyperrl.nets.contraction import CONTRACTIONS, apply_weight, choose
from hyperrl.nets.generated import GeneratedWeight


@pytest.mark.parametrize(
    "case", [Case("test", *shape) for shape in [(5, 1, 3, 4, 2), (5, 1, 3, 4, 1), (2, 3, 4, 2, 5)]]
)
def test_all_orders_give_the_baselines_results(case):
    layer = Layer(case, "cpu", 0)
    reference = layer.work("bmm", "forward+backward")()
    for order in (*ORDERS, "auto"):
        assert torch.allclose(layer.apply(order), layer.apply("bmm"), atol=1e-4)
        for ours, theirs in zip(layer.work(order, "forward+backward")(), reference, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)
        assert not layer.work(order, "forward")().requires_grad


def test_rows_of_a_measurement_are_complete():
    case = Case("test", 4, 1, 3, 2, 5)
    rows = measure(case, rounds=2)
    assert [(row["pass"], row["order"]) for row in rows] == list(
        itertools.product(PASSES, ("bmm", *ORDERS, "auto"))
    )
    for row in rows:
        assert (row["groups"], row["k"], row["fan_in"], row["fan_out"]) == (4, 3, 2, 5)
        assert row["best"] in ("bmm", *ORDERS)
        assert row["auto_is"] == choose(4, 1, 3, 2, 5)
        # Even the smallest pass holds the outputs.
        assert row["peak_mb"] >= 4 * 5 * 4 / 1e6
    assert all(row["ratio_to_bmm"] == 1.0 for row in rows if row["order"] == "bmm")
    lines = overview(rows)
    assert [line["pass"] for line in lines] == list(PASSES)
    assert all(line[order] > 0 for line in lines for order in (*ORDERS, "auto"))


def test_materialising_needs_more_memory_than_re_associating_few_templates():
    layer = Layer(Case("test", 64, 1, 2, 64, 64), "cpu", 0)
    rows = {row["order"]: row["peak_mb"] for row in measure(layer.case, rounds=1) if row["pass"] == PASSES[0]}
    assert rows["materialise"] >= 64 * 64 * 64 * 4 / 1e6
    assert max(rows["outer"], rows["xw"]) < rows["materialise"] / 4


def test_the_grid_holds_the_layers_of_the_fast_critic_at_every_batch_size():
    found = {(case.groups, case.fan_in) for case in cases() if case.source == "fast critic"}
    assert found == set(itertools.product((1, 8, 100, 256), (6, 256)))


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        # A single condition, or several rows for each: one matrix per condition is the cheapest.
        ((1, 1, 32, 6, 256), "materialise"),
        ((8, 32, 64, 64, 64), "materialise"),
        # As many templates as numbers in a row or more: nothing is saved by re-association.
        ((256, 1, 1024, 6, 256), "materialise"),
        ((256, 1, 1024, 256, 1), "materialise"),
        # Few templates: over the narrow side of the layer.
        ((256, 1, 32, 6, 256), "outer"),
        ((256, 1, 32, 256, 1), "xw"),
        ((512, 1, 25, 256, 128), "xw"),
    ],
)
def test_the_choice_goes_over_the_narrow_side(shape, order):
    assert choose(*shape) == order


@pytest.mark.parametrize(("groups", "rows"), [(1, 1), (5, 1), (3, 4)])
@pytest.mark.parametrize("fan_out", [1, 3])
@pytest.mark.parametrize("parts", ["bank", "bank+base", "base", "own base", "low rank", "scaled", "all"])
def test_every_combination_of_parts_equals_a_loop_over_conditions(groups, rows, fan_out, parts):
    torch.manual_seed(0)
    k, fan_in = 4, 2

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    weight = GeneratedWeight(
        base=normal(groups, fan_in, fan_out)
        if parts == "own base"
        else normal(fan_in, fan_out)
        if parts != "bank"
        else None,
        bank=normal(k, fan_in, fan_out) if parts in ("bank", "bank+base", "all") else None,
        coefficients=normal(groups, k) if parts in ("bank", "bank+base", "all") else None,
        left=normal(groups, fan_in, 2) if parts in ("low rank", "all") else None,
        right=normal(groups, 2, fan_out) if parts in ("low rank", "all") else None,
        scale=normal(groups, fan_out) if parts in ("scaled", "all") else None,
    )
    dense = weight.dense().expand(groups, fan_in, fan_out)
    x = normal(groups, rows, fan_in)
    for bias, order in itertools.product((None, normal(fan_out), normal(groups, fan_out)), CONTRACTIONS):
        shift = (
            torch.zeros(groups, fan_out, dtype=torch.float64)
            if bias is None
            else bias.expand(groups, fan_out)
        )
        expected = torch.stack([x[g] @ dense[g] + shift[g] for g in range(groups)])
        found = apply_weight(weight, x, order, bias)  # type: ignore[arg-type]
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
        tensors = [
            t
            for t in (weight.base, weight.bank, weight.coefficients, weight.left, weight.scale, bias, x)
            if t is not None
        ]
        ours = torch.autograd.grad(found.square().sum(), tensors)
        theirs = torch.autograd.grad(expected.square().sum(), tensors, retain_graph=True)
        assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(ours, theirs, strict=True))
        if rows == 1:
            flat = apply_weight(weight, x.squeeze(1), order, bias)  # type: ignore[arg-type]
            assert torch.allclose(flat, expected.squeeze(1), rtol=1e-10, atol=1e-12)


def test_weights_without_a_batch_dimension_are_shared_by_all_rows():
    torch.manual_seed(0)
    weight = GeneratedWeight(torch.randn(3, 2), torch.randn(4, 3, 2), torch.randn(4))
    x, bias = torch.randn(7, 3), torch.randn(2)
    expected = torch.stack([row @ weight.dense() + bias for row in x])
    for order in CONTRACTIONS:
        assert torch.allclose(apply_weight(weight, x, order, bias), expected, atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ORDERS)
def test_second_derivatives_are_right(order):
    torch.manual_seed(0)
    shapes = [(3, 2), (4, 3, 2), (5, 4), (5, 1, 3), (5, 2)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def layer(base, bank, coefficients, x, bias):
        return apply_weight(GeneratedWeight(base, bank, coefficients), x, order, bias)

    assert torch.autograd.gradgradcheck(layer, tensors)
