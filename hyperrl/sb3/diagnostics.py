"""What TensorBoard gets besides Stable-Baselines3's scalars, measured once every so many updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor

from hyperrl.sb3.critics import HyperContinuousCritic, HyperQ

_ROWS = 64


class LossMeans:
    """Means of losses over the updates of one `train` call, read from the device once at its end."""

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Remember a scalar under a name."""
        self._values.setdefault(name, []).append(value.detach())

    def record(self, logger: Logger) -> None:
        """Write the means as ``train/NAME``."""
        for name, values in self._values.items():
            mean = values[0] if len(values) == 1 else torch.stack(values).mean()
            logger.record(f"train/{name}", mean.item())


class CriticDiagnostics:
    """Generated weights against theta0, feature norms, gradient norms and value statistics of a critic.

    Args:
        critic: The online critic.
        every: Updates between two measurements.
    """

    def __init__(self, critic: HyperContinuousCritic, every: int = 1000) -> None:
        self.critic = critic
        self.every = every
        self._latest: dict[str, float] = {}

    def due(self, update: int) -> bool:
        """Whether it is time to measure.

        Args:
            update: Number of the update, from 1.
        """
        return not self._latest or (update - 1) % self.every == 0

    def observe(self, update: int, batch: Any, values: Sequence[Tensor]) -> None:
        """Measure if it is time; call it between the critic's backward pass and its optimiser step.

        Args:
            update: Number of the update.
            batch: The replay samples.
            values: Values ``[B, 1]`` that the critic gave them.
        """
        if not self.due(update):
            return
        stacked = torch.cat([value.detach() for value in values], dim=1)
        self._latest = {
            "q_mean": stacked.mean().item(),
            "q_std": stacked.std(correction=0).item(),
            "q_min": stacked.min().item(),
            "q_max": stacked.max().item(),
            "q_disagreement": (stacked.amax(1) - stacked.amin(1)).mean().item(),
        }
        network = self.critic.q_networks[0]
        if isinstance(network, HyperQ):
            self._observe_network(network, batch)

    def record(self, logger: Logger) -> None:
        """Write the latest measurement as ``hyper/NAME``."""
        for name, value in self._latest.items():
            logger.record(f"hyper/{name}", value)

    @torch.no_grad()
    def _observe_network(self, network: HyperQ, batch: Any) -> None:
        extractor = self.critic.features_extractor
        training = extractor.training
        # Measuring must not move batch statistics nor draw dropout masks.
        extractor.eval()
        state = self.critic.extract_features(batch.observations, extractor)[:_ROWS]
        extractor.train(training)
        condition = network.condition(state, batch.actions[:_ROWS])
        for name, value in network.hyper.generated_stats(condition).items():
            key = name if name == "feature_norm" else f"delta_over_theta0/{name}"
            self._latest[key] = value
        self._latest["grad_norm_primary"] = gradient_norm(network.hyper.trunk)
        self._latest["grad_norm_head"] = gradient_norm(network.hyper.head)


def gradient_norm(module: torch.nn.Module) -> float:
    """Euclidean norm of all gradients of a module; 0 if there are none."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    if not gradients:
        return 0.0
    return float(torch.stack(torch._foreach_norm(gradients)).norm())
