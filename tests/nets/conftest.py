"""Builders that the tests of the networks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from hyperrl.nets import HyperNet, TargetSpec

Builder = Callable[..., HyperNet]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def random_hyper() -> Builder:
    """Build a small hypernetwork in double precision with every parameter drawn at random.

    At the start heads are zero, and comparisons of zeros would prove nothing.
    """

    def build(
        spec: TargetSpec, condition_dim: int, kind: str, std: float = 0.4, **options: object
    ) -> HyperNet:
        torch.manual_seed(1)
        hyper = HyperNet(spec, condition_dim, kind, **options).double()  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in hyper.parameters():
                parameter.normal_(0.0, std)
        return hyper

    return build
