"""What PPO logs of the minibatches of one rollout, as Stable-Baselines3's does."""

from __future__ import annotations

from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.utils import explained_variance
from torch import Tensor

METRICS = ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction", "approx_kl", "loss")
"""What is measured of each minibatch."""


def means_of(metrics: Tensor, last: int, buffer: RolloutBuffer) -> dict[str, float]:
    """Return what is logged.

    Args:
        metrics: The `METRICS` of all minibatches, ``[M, 6]``.
        last: Number of minibatches in the last epoch.
        buffer: The rollout.
    """
    values = metrics.double().cpu()
    means = dict(zip(METRICS, values.mean(0).tolist(), strict=True))
    means["approx_kl"] = values[-last:, METRICS.index("approx_kl")].mean().item()
    means["loss"] = values[-1, METRICS.index("loss")].item()
    means["explained_variance"] = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
    return means
