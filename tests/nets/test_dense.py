"""`matmul` equals torch's, also where it takes oneDNN's path, to the second derivative."""

from __future__ import annotations

import pytest
import torch

from hyperrl.errors import ConfigError
from hyperrl.nets import dense as module
from hyperrl.nets.dense import DenseLinear, matmul

has_onednn = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="this build of torch has no oneDNN",
)


@pytest.fixture
def forced(monkeypatch):
    """Take oneDNN's path on any processor and at any size; count how often."""
    calls = []
    real = module._Dense.apply
    monkeypatch.setattr(module, "prefers_onednn", lambda: True)
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module._Dense, "apply", lambda *tensors: calls.append(1) or real(*tensors))
    return calls


def derivatives(function, tensors):
    inputs = [tensor.clone().requires_grad_() for tensor in tensors]
    out = function(*inputs)
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), inputs)
    return [out, *first, *second]


@has_onednn
@pytest.mark.parametrize("addend", [None, (7,), (11, 7)])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_onednn_path_equals_float64_to_the_second_derivative(forced, transposed, addend):
    torch.manual_seed(0)
    matrix = torch.randn(7, 5).t() if transposed else torch.randn(5, 7)
    inputs = [torch.randn(11, 5), matrix] + ([] if addend is None else [torch.randn(addend)])
    expected = derivatives(lambda x, m, a=None: x @ m + (0 if a is None else a), [t.double() for t in inputs])
    for value, truth in zip(derivatives(matmul, inputs), expected, strict=True):
        torch.testing.assert_close(value.double(), truth, atol=1e-4, rtol=1e-4)
    assert forced


def test_what_the_onednn_path_cannot_take_goes_to_torch(forced):
    matrix = torch.randn(4, 3)
    for x in (torch.randn(2, 4).double(), torch.randn(2, 5, 4), torch.randn(4)):
        expected = x @ matrix.to(x.dtype) + 1
        torch.testing.assert_close(matmul(x, matrix.to(x.dtype), torch.ones(3, dtype=x.dtype)), expected)
    batch = torch.randn(6, 2, 4)
    torch.testing.assert_close(torch.func.vmap(lambda rows: matmul(rows, matrix))(batch), batch @ matrix)
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


@pytest.fixture
def asked_anew():
    module.prefers_onednn.cache_clear()
    yield
    module.prefers_onednn.cache_clear()


@has_onednn
@pytest.mark.parametrize("wish", ["0", "1"])
def test_a_user_decides_between_onednn_and_the_blas(monkeypatch, asked_anew, wish):
    monkeypatch.setenv("HYPERRL_ONEDNN", wish)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2" if wish == "1" else "AVX512")
    assert module.prefers_onednn() is (wish == "1")


@has_onednn
def test_another_wish_is_refused(monkeypatch, asked_anew):
    monkeypatch.setenv("HYPERRL_ONEDNN", "yes")
    with pytest.raises(ConfigError, match="HYPERRL_ONEDNN must be 0 or 1, got 'yes'"):
        module.prefers_onednn()
