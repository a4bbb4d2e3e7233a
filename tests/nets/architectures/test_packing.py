"""Every kernel gives what the networks give one by one, and so do its gradients."""

from itertools import product

import pytest
import torch
from torch.nn import functional

from hyperrl.errors import ConfigError, ShapeError, UnknownNameError
from hyperrl.nets.architectures import ArchitectureSampler, ArchitectureSpace
from hyperrl.nets.architectures.layout import Layout
from hyperrl.nets.architectures.packing import ACTIVATIONS, KERNELS, Packing, kernel_for

SMALL = ArchitectureSpace(3, 2, [(2,), (4, 3), (3, 5, 2)])


def one_by_one(layout, flat, x, activation="relu"):
    outputs = []
    for layers, rows in zip(layout.split(flat), x, strict=True):
        for weight, bias in layers[:-1]:
            rows = ACTIVATIONS[activation](functional.linear(rows, weight, bias))
        outputs.append(functional.linear(rows, *layers[-1]))
    return torch.stack(outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("space", ["paper", "cpu"])
@pytest.mark.parametrize(("count", "rows"), [(1, 1), (1, 5), (12, 1), (12, 7)])
def test_all_kernels_equal_the_networks_one_by_one(space, count, rows, activation):
    torch.manual_seed(0)
    space = getattr(ArchitectureSpace, space)(17, 6)
    layout = Layout(space, ArchitectureSampler(space, count, seed=count).draw())
    flat = torch.randn(layout.total)
    for parts in layout.split(flat):
        for weight, _ in parts:
            weight /= weight.shape[1] ** 0.5
    x, direction = torch.randn(count, rows, 17), torch.randn(count, rows, 6)
    expected = one_by_one(layout, flat.requires_grad_(), x, activation)
    (slope,) = torch.autograd.grad((expected * direction).sum(), flat)
    for kernel in KERNELS:
        found = Packing(layout, kernel, activation).pack(flat)(x)
        assert (found - expected).abs().max() <= 1e-5
        (gradient,) = torch.autograd.grad((found * direction).sum(), flat)
        assert (gradient - slope).abs().max() <= 1e-5 * slope.abs().max()


@pytest.mark.parametrize(("kernel", "activation"), list(product(KERNELS, ACTIVATIONS)))
def test_first_and_second_gradients_are_right(kernel, activation):
    torch.manual_seed(0)
    layout = Layout(SMALL, range(3))
    packing = Packing(layout, kernel, activation)
    flat = torch.randn(layout.total, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)

    def run(flat, x):
        return packing.pack(flat)(x)

    assert torch.autograd.gradcheck(run, (flat, x))
    assert torch.autograd.gradgradcheck(run, (flat, x))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_networks_weights_get_no_gradient_from_another_ones_rows(kernel):
    layout = Layout(SMALL, [2, 0, 1, 0])
    flat = torch.randn(layout.total, requires_grad=True)
    out = Packing(layout, kernel).pack(flat)(torch.randn(4, 3, 3))
    out[1].sum().backward()
    assert flat.grad is not None
    touched = flat.grad.nonzero().flatten()
    assert len(touched)
    assert int(touched.min()) >= layout.offsets[1]
    assert int(touched.max()) < layout.offsets[2]


def test_packed_weights_can_be_applied_again_and_are_those_of_their_time():
    layout = Layout(SMALL, [0, 1])
    flat = torch.randn(layout.total)
    packing = Packing(layout)
    x = torch.randn(2, 4, 3)
    packed = packing.pack(flat)
    first = packed(x)
    other = packing.pack(flat + 1)(x)
    assert torch.equal(packed(x), first)
    assert not torch.allclose(other, first)


def test_one_after_the_other_copies_nothing():
    layout = Layout(SMALL, [0, 1, 2])
    flat = torch.randn(layout.total)
    packed = Packing(layout, "loop").pack(flat)
    x = torch.randn(3, 1, 3)
    before = packed(x)
    flat += 1.0
    assert torch.allclose(packed(x), one_by_one(layout, flat, x))
    assert not torch.allclose(packed(x), before)


def test_what_does_not_fit_is_refused():
    layout = Layout(SMALL, [0, 1])
    packing = Packing(layout)
    with pytest.raises(ShapeError, match=f"expected the {layout.total} weights of the layout"):
        packing.pack(torch.zeros(layout.total + 1))
    packed = packing.pack(torch.zeros(layout.total))
    for shape in ((3, 1, 3), (2, 3), (2, 1, 4)):
        with pytest.raises(ShapeError, match=r"expected an input of shape \(2, rows, 3\)"):
            packed(torch.zeros(shape))
    with pytest.raises(UnknownNameError, match="did you mean 'buckets'"):
        Packing(layout, "bucket")
    with pytest.raises(UnknownNameError, match="activation 'elu'"):
        Packing(layout, activation="elu")
    with pytest.raises(ConfigError, match="no network"):
        kernel_for([], 1)


def test_the_kernel_goes_by_what_each_costs():
    # Many small networks and few rows: calls are what costs. Large ones: padding is.
    paper = ArchitectureSpace.paper(17, 6)
    narrow = [(16, 16)] * 60 + [(32, 8)] * 4
    wide = [paper[int(number)] for number in ArchitectureSampler(paper, 16).draw()]
    assert kernel_for(narrow, 1) == kernel_for(narrow, 1, training=True) == "padded"
    assert kernel_for(wide, 64) == kernel_for(wide, 64, training=True) == "loop"
    assert kernel_for([(64, 64)], 1) in KERNELS
    mixed = [(8, 8), (16,)] * 20 + [(64, 64), (64, 64, 64)] * 20
    assert kernel_for(mixed, 16) == "buckets"


def test_the_shape_of_a_group_holds_what_shorter_networks_hand_on():
    space = ArchitectureSpace(2, 1, [(9,), (3, 2, 4)])
    layout = Layout(space, [0, 1])
    flat, x = torch.randn(layout.total), torch.randn(2, 3, 2)
    for activation in ACTIVATIONS:
        found = Packing(layout, "padded", activation).pack(flat)(x)
        assert torch.allclose(found, one_by_one(layout, flat, x, activation), atol=1e-5)
