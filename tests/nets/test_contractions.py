"""Every kind and every order of evaluation against a loop of `F.linear`, values and derivatives."""

import pytest
import torch

from hyperrl import registry
from hyperrl.nets import CONTRACTIONS, TargetMLP, TargetSpec
from hyperrl.nets.contraction import apply_weight, choose
from hyperrl.nets.generated import GeneratedWeight
from hyperrl.testing import reference_forward

# A layer that widens, one that narrows to a single output, and features fewer and more than both.
SPEC = TargetSpec.mlp(3, (7, 4), 1, activation="tanh", gain=True)
PAIRINGS = {
    "one condition, one row": ((), ()),
    "one condition, rows": ((), (5,)),
    "one condition, two row dimensions": ((), (2, 3)),
    "a condition per row": ((5,), ()),
    "a condition per group": ((3,), (4,)),
    "two batch dimensions": ((2, 3), ()),
    "two batch dimensions, rows": ((2, 3), (2, 2)),
}


def trunk_of(kind, **options):
    """The options of a trunk, for kinds that have one."""
    return options if kind != "linear" and registry.kinds.get(kind).takes_trunk else {}


def build(random_hyper, kind):
    options = trunk_of(kind, hidden=(4,), features=5)
    return random_hyper(SPEC, 2, kind, activation="tanh", **options)


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("contraction", CONTRACTIONS)
@pytest.mark.parametrize("kind", registry.kinds.names())
def test_values_and_both_derivatives_equal_the_loop(random_hyper, kind, contraction, pairing):
    batch, rows = PAIRINGS[pairing]
    hyper = build(random_hyper, kind)
    condition = torch.randn(*batch, 2, dtype=torch.float64, requires_grad=True)
    x = torch.randn(*batch, *rows, 3, dtype=torch.float64, requires_grad=True)
    inputs = [*hyper.parameters(), condition, x]

    def derivatives(out):
        first = torch.autograd.grad(
            out.sin().sum(), inputs, create_graph=True, allow_unused=True, materialize_grads=True
        )
        again = sum((gradient.square().sum() for gradient in first), torch.zeros(()).double())
        second = torch.autograd.grad(again, inputs, allow_unused=True, materialize_grads=True)
        return out, *first, *second

    fast = derivatives(TargetMLP(SPEC, contraction)(hyper.generate(condition), x))

    def one(condition, x):
        return reference_forward(SPEC, hyper.generate(condition).materialise(), x)

    flat_condition, flat_x = condition.reshape(-1, 2), x.reshape(-1, *rows, 3)
    loop = torch.stack([one(c, r) for c, r in zip(flat_condition, flat_x, strict=True)])
    slow = derivatives(loop.reshape(*batch, *rows, 1))
    for left, right in zip(fast, slow, strict=True):
        assert left.shape == right.shape
        assert torch.allclose(left, right, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("contraction", ["materialise", "outer", "xw"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("fan_in", "fan_out"), [(2, 3), (3, 2), (3, 1)])
def test_second_derivatives_of_one_layer_match_finite_differences(contraction, rows, fan_in, fan_out):
    def layer(bank, coefficients, base, x):
        return apply_weight(GeneratedWeight(base=base, bank=bank, coefficients=coefficients), x, contraction)

    shapes = [(2, fan_in, fan_out), (2, 2), (fan_in, fan_out), (2, rows, fan_in)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(layer, inputs)
    assert torch.autograd.gradgradcheck(layer, inputs)


@pytest.mark.parametrize("kind", registry.kinds.names())
def test_second_derivatives_of_whole_hypernetworks_match_finite_differences(random_hyper, kind):
    spec = TargetSpec.mlp(2, (3,), 1, activation="tanh", gain=True)
    options = trunk_of(kind, hidden=(2,), features=2)
    hyper = random_hyper(spec, 2, kind, activation="tanh", **options)
    target = TargetMLP(spec)
    inputs = [torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradgradcheck(lambda c, x: target(hyper.generate(c), x), inputs)


@pytest.mark.parametrize("k", [1, 4, 40])
@pytest.mark.parametrize(("conditions", "rows"), [(1, 1), (6, 1), (6, 5), (1, 30)])
@pytest.mark.parametrize(("fan_in", "fan_out"), [(8, 16), (16, 8), (16, 1)])
def test_auto_is_one_of_the_exact_orders(k, conditions, rows, fan_in, fan_out):
    assert choose(conditions, rows, k, fan_in, fan_out) in ("materialise", "outer", "xw")
    weight = GeneratedWeight(
        bank=torch.randn(k, fan_in, fan_out).double(), coefficients=torch.randn(conditions, k).double()
    )
    x = torch.randn(conditions, rows, fan_in).double()
    expected = torch.einsum("gk,kio,gni->gno", weight.coefficients, weight.bank, x)
    assert torch.allclose(apply_weight(weight, x), expected)


@pytest.mark.parametrize("contraction", CONTRACTIONS)
def test_all_parts_of_a_weight_add_up_before_the_scale(contraction):
    shapes = {
        "base": (3, 4), "bank": (5, 3, 4), "coefficients": (6, 5), "left": (6, 3, 2), "right": (6, 2, 4),
        "scale": (6, 4),
    }  # fmt: skip
    parts = {name: torch.randn(shape).double() for name, shape in shapes.items()}
    x = torch.randn(6, 2, 3).double()
    loop = []
    for i in range(6):
        matrix = parts["base"] + sum(parts["coefficients"][i, k] * parts["bank"][k] for k in range(5))
        matrix = (matrix + parts["left"][i] @ parts["right"][i]) * parts["scale"][i]
        loop.append(x[i] @ matrix)
    assert torch.allclose(apply_weight(GeneratedWeight(**parts), x, contraction), torch.stack(loop))


def test_per_condition_bases_are_matched_to_their_rows():
    base = torch.randn(6, 3, 4).double()
    x = torch.randn(6, 2, 3).double()
    expected = torch.stack([x[i] @ base[i] for i in range(6)])
    assert torch.allclose(apply_weight(GeneratedWeight(base=base), x), expected)
