"""A task inferred from what was seen of it, instead of told (after PEARL, Rakelly et al., ICML 2019)."""

from __future__ import annotations

from torch import Tensor, nn

_LOG_STD = (-10.0, 2.0)


class TaskEncoder(nn.Module):
    """From a state and an action to a Gaussian over a latent that stands for the task.

    Args:
        inputs: Numbers of state and action together.
        latent: Numbers of the latent.
        width: Of its two hidden layers.
    """

    def __init__(self, inputs: int, latent: int = 256, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 2 * latent),
        )

    def forward(self, transitions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation ``[..., z]`` from ``[..., s + a]``."""
        mean, log_std = self.layers(transitions).chunk(2, dim=-1)
        return mean, log_std.clamp(*_LOG_STD)


def divergence(mean: Tensor, log_std: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal, summed over ``[..., z]``, mean over the rest."""
    return (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).sum(-1).mean()
