"""Generators that were put back must draw what they would have drawn."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from hyperrl.run import generators
from tests.run.doubles import through_a_file


def draw(device="cpu"):
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(3).tolist(),
        np.random.randn(),
        torch.rand(3, device=device).tolist(),
        torch.randn(3, device=device).tolist(),
        torch.randperm(7).tolist(),
    ]


def test_all_generators_go_on_and_capturing_draws_nothing():
    for seed in range(3):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        draw()
        # One of a pair of normal numbers is still to come.
        random.gauss(0, 1), np.random.randn()
        state = through_a_file(generators.capture())
        expected = [draw(), draw()]
        random.seed(9), np.random.seed(9), torch.manual_seed(9)
        for _ in range(2):
            assert generators.restore(state) == []
            assert [draw(), draw()] == expected


def test_a_seed_for_new_episodes_is_derived_without_a_draw():
    np.random.seed(4)
    state = generators.capture()
    seed = generators.reset_seed(state)
    assert generators.reset_seed(through_a_file(state)) == seed
    after = np.random.rand()
    np.random.seed(4)
    assert np.random.rand() == after
    assert generators.reset_seed(generators.capture()) != seed


def test_missing_devices_are_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    state = {**generators.capture(), "cuda": [torch.zeros(16, dtype=torch.uint8)] * 2}
    (sentence,) = generators.restore(state)
    assert "of 2 CUDA devices and this machine has 0" in sentence


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_generators_go_on():
    torch.cuda.manual_seed_all(3)
    draw("cuda")
    state = through_a_file(generators.capture())
    assert len(state["cuda"]) == torch.cuda.device_count()
    expected = draw("cuda")
    torch.cuda.manual_seed_all(8)
    assert generators.restore(state) == []
    assert draw("cuda") == expected
