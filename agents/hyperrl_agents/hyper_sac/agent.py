"""HyperSAC: SAC whose value functions are generated from the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from hyperrl.sb3.critics import HyperContinuousCritic
from hyperrl.sb3.diagnostics import CriticDiagnostics
from hyperrl.sb3.policies import HyperSACCnnPolicy, HyperSACMultiInputPolicy, HyperSACPolicy
from hyperrl_agents.compiled_sac import CompiledSAC, losses


class HyperSAC(CompiledSAC):
    """Soft actor-critic with hypernetwork critics (Sarafian, Keynan & Kraus, ICML 2021).

    Takes the arguments of `CompiledSAC` (and so of Stable-Baselines3's `SAC`); ``policy_kwargs`` takes
    ``critic`` besides: ``"fast"`` (default), ``"compact"``, ``"paper"`` or a `HyperCriticConfig`.

    Example:
        >>> from hyperrl import HyperSAC
        >>> model = HyperSAC("MlpPolicy", "Pendulum-v1", policy_kwargs=dict(critic="fast"))
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": HyperSACPolicy,
        "CnnPolicy": HyperSACCnnPolicy,
        "MultiInputPolicy": HyperSACMultiInputPolicy,
    }
    critic: HyperContinuousCritic
    critic_target: HyperContinuousCritic

    def _setup_model(self) -> None:
        super()._setup_model()
        self._diagnostics = CriticDiagnostics(self.critic)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update as SAC does, and log what the critics generate.

        Args:
            gradient_steps: Number of updates.
            batch_size: Transitions per update.
        """
        super().train(gradient_steps, batch_size)
        self.logger.record("train/critic_learning_rate", self.critic.optimizer.param_groups[0]["lr"])
        self._diagnostics.record(self.logger)

    def _after_critic_backward(self, number: int, batch: Any, values: Sequence[Tensor]) -> None:
        self._diagnostics.observe(number, batch, values)

    def _before_compiled(self, number: int, batch: Any) -> None:
        if not self._diagnostics.due(number):
            return
        # Measuring must not take the numbers that the next updates draw.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            temperature = self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.exp()
            target = self._td_target(batch, temperature.detach())
        values = self.critic(batch.observations, batch.actions)
        losses.critic_loss(values, target).backward()
        self._diagnostics.observe(number, batch, values)
        self.critic.optimizer.zero_grad()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_diagnostics"]
