"""HyperTD3: TD3 whose value functions are generated from the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from hyperrl.sb3.critics import HyperContinuousCritic
from hyperrl.sb3.diagnostics import CriticDiagnostics
from hyperrl.sb3.policies import HyperTD3CnnPolicy, HyperTD3MultiInputPolicy, HyperTD3Policy
from hyperrl_agents.compiled_td3 import CompiledTD3, losses


class HyperTD3(CompiledTD3):
    """Twin delayed DDPG with hypernetwork critics (Sarafian, Keynan & Kraus, ICML 2021).

    Takes the arguments of `CompiledTD3` (and so of Stable-Baselines3's `TD3`); ``policy_kwargs`` takes
    ``critic`` besides: ``"fast"`` (default), ``"compact"``, ``"paper"`` or a `HyperCriticConfig`.

    Example:
        >>> from hyperrl import HyperTD3
        >>> model = HyperTD3("MlpPolicy", "Pendulum-v1", policy_kwargs=dict(critic="fast"))
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": HyperTD3Policy,
        "CnnPolicy": HyperTD3CnnPolicy,
        "MultiInputPolicy": HyperTD3MultiInputPolicy,
    }
    critic: HyperContinuousCritic
    critic_target: HyperContinuousCritic

    def _setup_model(self) -> None:
        super()._setup_model()
        self._diagnostics = CriticDiagnostics(self.critic)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update as TD3 does, and log what the critics generate.

        Args:
            gradient_steps: Number of updates.
            batch_size: Transitions per update.
        """
        super().train(gradient_steps, batch_size)
        self.logger.record("train/critic_learning_rate", self.critic.optimizer.param_groups[0]["lr"])
        self._diagnostics.record(self.logger)

    def _after_critic_backward(self, batch: Any, values: Sequence[Tensor]) -> None:
        self._diagnostics.observe(self._n_updates, batch, values)

    def _before_compiled(self, batch: Any, noise: Tensor) -> None:
        if self._diagnostics.due(self._n_updates):
            values = self.critic(batch.observations, batch.actions)
            losses.critic_loss(values, self._td_target(batch, noise)).backward()
            self._diagnostics.observe(self._n_updates, batch, values)
            self.critic.optimizer.zero_grad()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_diagnostics"]
