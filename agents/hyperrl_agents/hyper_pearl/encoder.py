"""What infers the task: each transition says a Gaussian, and all together their product."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperrl_agents.hyper_pearl.losses import product_of_gaussians

_HIDDEN_BIAS = 0.1
_LAST = 3e-3


class DenseNet(nn.Module):
    """Dense layers with ReLUs between them, begun as PEARL's.

    Hidden weights start as U(±1 / sqrt(outputs)), by the outputs and not the inputs as published, hidden
    biases at 0.1, the last layer's weights and biases as U(±last).

    Args:
        sizes: Sizes from the input to the output.
        last: Bound of the last layer.
    """

    def __init__(self, sizes: Sequence[int], last: float = _LAST) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes))
        *hidden, output = self.dense
        with torch.no_grad():
            for layer in hidden:
                bound = 1 / sqrt(layer.out_features)
                layer.weight.uniform_(-bound, bound)
                layer.bias.fill_(_HIDDEN_BIAS)
            output.weight.uniform_(-last, last)
            output.bias.uniform_(-last, last)

    @property
    def dense(self) -> list[nn.Linear]:
        """The layers, the one next to the input first."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., inputs]`` to ``[..., outputs]``."""
        *hidden, output = self.layers
        for layer in hidden:
            x = functional.relu(layer(x))
        out: Tensor = output(x)
        return out


class ContextEncoder(nn.Module):
    """From transitions of a task to a Gaussian over the latent that stands for it.

    Args:
        inputs: Numbers of a transition: state, action, reward and, if they are part of it, the next state.
        latent: Numbers of the latent C.
        widths: Hidden widths.
    """

    def __init__(self, inputs: int, latent: int, widths: Sequence[int] = (200, 200, 200)) -> None:
        super().__init__()
        self.net = DenseNet((inputs, *widths, 2 * latent))

    def factors(self, transitions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance ``[..., C]`` that each transition ``[..., inputs]`` says by itself."""
        mean, raw = self.net(transitions).chunk(2, dim=-1)
        return mean, functional.softplus(raw)

    def forward(self, transitions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance ``[..., C]`` of the posterior after transitions ``[..., N, inputs]``."""
        return product_of_gaussians(*self.factors(transitions))
