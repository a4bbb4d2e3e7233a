"""`dense` equals `F.linear`, also where it takes oneDNN's path, to the second derivative."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hyperrl.nets import dense as module
from hyperrl.nets.dense import DenseLinear, dense

has_onednn = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="this build of torch has no oneDNN",
)


@pytest.fixture
def forced(monkeypatch):
    """Take oneDNN's path on any processor and at any size; count how often."""
    calls = []
    real = module._Dense.apply
    monkeypatch.setattr(module, "slow_blas", lambda: True)
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module._Dense, "apply", lambda *tensors: calls.append(1) or real(*tensors))
    return calls


def derivatives(function, x, weight, bias):
    inputs = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    out = function(*inputs)
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), inputs)
    return [out, *first, *second]


@has_onednn
@pytest.mark.parametrize("transposed", [False, True])
def test_the_onednn_path_equals_a_float64_linear_layer_to_the_second_derivative(forced, transposed):
    torch.manual_seed(0)
    weight = torch.randn(5, 7).t() if transposed else torch.randn(7, 5)
    x, bias = torch.randn(11, 5), torch.randn(7)
    expected = derivatives(functional.linear, x.double(), weight.double(), bias.double())
    for value, truth in zip(derivatives(dense, x, weight, bias), expected, strict=True):
        torch.testing.assert_close(value.double(), truth, atol=1e-4, rtol=1e-4)
    assert forced


def test_what_the_onednn_path_cannot_take_goes_to_torch(forced):
    weight = torch.randn(3, 4)
    for x in (torch.randn(2, 4).double(), torch.randn(2, 5, 4)):
        expected = functional.linear(x, weight.to(x.dtype))
        torch.testing.assert_close(dense(x, weight.to(x.dtype)), expected)
    batch = torch.randn(6, 2, 4)
    torch.testing.assert_close(torch.func.vmap(lambda row: dense(row, weight))(batch), batch @ weight.t())
    assert not forced


@has_onednn
def test_a_dense_linear_layer_is_a_linear_layer(forced):
    torch.manual_seed(0)
    ours = DenseLinear(4, 3)
    torch.manual_seed(0)
    theirs = torch.nn.Linear(4, 3)
    assert torch.equal(ours.weight, theirs.weight)
    x = torch.randn(8, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    assert forced
