"""Peak memory of work whose memory is known."""

from __future__ import annotations

import pytest
import torch

from hyperrl.bench.memory import peak_bytes

MEGABYTE = 1_000_000


def three_at_once() -> list[torch.Tensor]:
    return [torch.zeros(250_000) for _ in range(3)]


def three_in_turn() -> None:
    for _ in range(3):
        torch.zeros(250_000)


def saved_for_backward() -> None:
    x = torch.ones(250_000, requires_grad=True)
    (x.exp().exp()).sum().backward()


@pytest.mark.parametrize(
    ("work", "tensors"),
    # The gradient pass holds x, both exponentials, and one or two gradients.
    [(three_at_once, (3, 3)), (three_in_turn, (1, 1)), (saved_for_backward, (4, 5))],
)
def test_the_peak_counts_what_lives_together(work, tensors):
    found = peak_bytes(work)
    assert tensors[0] * MEGABYTE <= found <= tensors[1] * MEGABYTE + 10_000


def test_what_existed_before_does_not_count():
    before = torch.zeros(250_000)
    assert peak_bytes(lambda: before.add_(1.0)) < 10_000
