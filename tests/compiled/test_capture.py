"""What recording a CUDA graph needs beside the GPU; with one, replays against calls of the function."""

import pytest
import torch

from hyperrl.compiled import CompiledFunction
from hyperrl.compiled.capture import CapturedFunction, same_layout, warm_up


def test_warming_up_leaves_the_state_as_it_was():
    calls = []

    def step(weight, count, rows, x):
        calls.append(float(count))
        weight.add_(x * rows.sum())
        count.add_(1)

    weight, count, rows = torch.ones(3), torch.zeros(()), torch.arange(4.0)
    warm_up(step, [weight, count, rows], [torch.ones(3)], unchanged=[rows])
    assert calls == [0.0, 1.0, 2.0]
    assert torch.equal(weight, torch.ones(3))
    assert count == 0


def test_the_state_comes_back_after_a_failure():
    weight = torch.ones(2)

    def fail(weight):
        weight.add_(1)
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        warm_up(fail, [weight], [])
    assert torch.equal(weight, torch.ones(2))


def test_what_is_only_read_is_not_copied(monkeypatch):
    rows, small = torch.zeros(1000), torch.zeros(2)
    cloned = []
    clone = torch.Tensor.clone
    monkeypatch.setattr(
        torch.Tensor, "clone", lambda self, *a, **k: cloned.append(self.numel()) or clone(self)
    )
    warm_up(lambda rows, small: small.add_(1), [rows, small], [], unchanged=[rows])
    assert cloned == [2]


def test_a_copy_of_some_columns_lies_as_they_do():
    columns = torch.arange(12.0).view(3, 4)[:, 1:3]
    copy = same_layout(columns)
    assert torch.equal(copy, columns)
    assert (copy.stride(), copy.data_ptr() != columns.data_ptr()) == ((4, 1), True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_replay_is_a_call():
    def step(weight, x):
        weight.add_(x)
        return [weight * 2]

    weight = torch.zeros(3, device="cuda")
    captured = CapturedFunction(step, [weight], [torch.ones(3, device="cuda")])
    assert torch.equal(weight, torch.zeros_like(weight))
    for _ in range(3):
        (doubled,) = captured(torch.full((3,), 2.0, device="cuda"))
    assert weight.tolist() == [6.0] * 3
    assert doubled.tolist() == [12.0] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_compiled_function_is_captured_on_a_gpu():
    weight = torch.ones(4, device="cuda")
    function = CompiledFunction(lambda state, x: state.mul_(x).sum(), "a product")
    function.bind(weight)
    for _ in range(3):
        total = function(torch.full((4,), 2.0, device="cuda"))
    assert function.fallback is None
    assert (weight.tolist(), total.item()) == ([8.0] * 4, 32.0)
