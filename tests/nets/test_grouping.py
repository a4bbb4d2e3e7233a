"""Networks generated once per distinct condition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrl.errors import BoundsError, NonFiniteError, ShapeError
from hyperrl.nets import HyperNet, TargetMLP, TargetSpec, apply_grouped

SPEC = TargetSpec.mlp(3, (5,), 2, gain=True)
TARGET = TargetMLP(SPEC)


@pytest.fixture
def hyper(random_hyper):
    return random_hyper(SPEC, 2, "mlp")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 4), max_size=30), st.sampled_from(["mlp", "lowrank", "modular", "film", "concat"])
)
def test_groups_of_any_size_equal_one_row_after_another(ids, kind):
    torch.manual_seed(0)
    hyper = HyperNet(SPEC, 2, kind, init="bias_hyper").double()
    with torch.no_grad():
        for parameter in hyper.parameters():
            parameter.normal_()
    condition, x = torch.randn(5, 2).double(), torch.randn(len(ids), 3).double()
    out = apply_grouped(TARGET, hyper.generate(condition), torch.tensor(ids, dtype=torch.long), x)
    assert out.shape == (len(ids), 2)
    for row, group in enumerate(ids):
        assert torch.allclose(out[row], TARGET(hyper.generate(condition[group]), x[row]))


def test_gradients_equal_those_of_one_network_per_row(hyper):
    condition, x = torch.randn(4, 2).double(), torch.randn(30, 3, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([0] * 25 + [2] * 4 + [3])[torch.randperm(30)]
    inputs = [x, *hyper.parameters()]
    grouped = torch.autograd.grad(
        apply_grouped(TARGET, hyper.generate(condition), ids, x).square().sum(), inputs
    )
    per_row = torch.autograd.grad(TARGET(hyper.generate(condition[ids]), x).square().sum(), inputs)
    for left, right in zip(grouped, per_row, strict=True):
        assert torch.allclose(left, right)


def test_generate_unique_generates_each_condition_once(hyper):
    distinct = torch.randn(3, 2).double()
    rows = torch.tensor([2, 0, 2, 2, 1, 0])
    generated, ids = hyper.generate_unique(distinct[rows])
    assert generated.batch_shape == (3,)
    x = torch.randn(6, 3).double()
    expected = TARGET(hyper.generate(distinct[rows]), x)
    assert torch.allclose(apply_grouped(TARGET, generated, ids, x), expected)
    with pytest.raises(ShapeError, match=r"expected conditions \[B, 2\], got shape \(2,\)"):
        hyper.generate_unique(distinct[0])
    with pytest.raises(ShapeError, match="ending in 2 numbers"):
        hyper.generate_unique(torch.zeros(4, 3))
    with pytest.raises(NonFiniteError, match="must be finite"):
        hyper.generate_unique(torch.full((4, 2), float("nan")))


def test_short_integer_ids_are_taken(hyper):
    generated = hyper.generate(torch.randn(3, 2).double())
    ids, x = torch.tensor([1, 0, 1]), torch.randn(3, 3).double()
    expected = apply_grouped(TARGET, generated, ids, x)
    assert torch.equal(apply_grouped(TARGET, generated, ids.int(), x), expected)


@pytest.mark.parametrize(
    ("batch", "ids", "x", "error", "message"),
    [
        ((3,), [0, 3], (2, 3), BoundsError, r"ids must lie in \[0, 2\], got 0 to 3"),
        ((3,), [-1, 0], (2, 3), BoundsError, "got -1 to 0"),
        ((3,), [0.0, 1.0], (2, 3), ShapeError, "ids must be integers"),
        ((3,), [True, False], (2, 3), ShapeError, "ids must be integers"),
        ((3,), [0, 1], (3, 3), ShapeError, r"got \(3,\), \(2,\) and \(3, 3\)"),
        ((3,), [0, 1], (2, 1, 3), ShapeError, r"rows \[B, in\]"),
        ((3,), [[0, 1]], (2, 3), ShapeError, r"ids \[B\]"),
        ((), [0, 1], (2, 3), ShapeError, r"weights for \[U\] conditions"),
    ],
)
def test_refusals(hyper, batch, ids, x, error, message):
    generated = hyper.generate(torch.randn(*batch, 2).double())
    with pytest.raises(error, match=message):
        apply_grouped(TARGET, generated, torch.tensor(ids), torch.zeros(x).double())
