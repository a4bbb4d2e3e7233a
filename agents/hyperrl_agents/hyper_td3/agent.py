"""HyperTD3: TD3 whose value functions are generated from the state."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from stable_baselines3 import TD3
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from torch import Tensor

from hyperrl.sb3.critics import HyperContinuousCritic
from hyperrl.sb3.diagnostics import CriticDiagnostics, LossMeans
from hyperrl.sb3.policies import HyperTD3CnnPolicy, HyperTD3MultiInputPolicy, HyperTD3Policy
from hyperrl.sb3.polyak import polyak_update
from hyperrl_agents.hyper_td3 import losses


class HyperTD3(TD3):
    """Twin delayed DDPG with hypernetwork critics (Sarafian, Keynan & Kraus, ICML 2021).

    Takes the arguments of Stable-Baselines3's `TD3`; ``policy_kwargs`` takes ``critic`` besides:
    ``"fast"`` (default), ``"compact"``, ``"paper"`` or a `HyperCriticConfig`.

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
        """Update critics on every step, actor and targets on every ``policy_delay``-th.

        Args:
            gradient_steps: Number of updates.
            batch_size: Transitions per update.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
        means = LossMeans()
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
            target = self._td_target(batch)
            values = self.critic(batch.observations, batch.actions)
            critic_loss = losses.critic_loss(values, target)
            self.critic.optimizer.zero_grad()
            critic_loss.backward()
            self._diagnostics.observe(self._n_updates, batch, values)
            self.critic.optimizer.step()
            means.add("critic_loss", critic_loss)

            if self._n_updates % self.policy_delay == 0:
                actions = self.actor(batch.observations)
                actor_loss = losses.actor_loss(self.critic.q1_forward(batch.observations, actions))
                self.actor.optimizer.zero_grad()
                actor_loss.backward()
                self.actor.optimizer.step()
                means.add("actor_loss", actor_loss)
                self._update_targets()
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/critic_learning_rate", self.critic.optimizer.param_groups[0]["lr"])
        means.record(self.logger)
        self._diagnostics.record(self.logger)

    @torch.no_grad()
    def _td_target(self, batch: Any) -> Tensor:
        discounts = self.gamma if batch.discounts is None else batch.discounts
        noise = torch.empty_like(batch.actions).normal_(0, self.target_policy_noise)
        target_actions = self.actor_target(batch.next_observations)
        next_actions = losses.smoothed_actions(target_actions, noise, self.target_noise_clip)
        next_values = self.critic_target(batch.next_observations, next_actions)
        return losses.td_target(batch.rewards, batch.dones, discounts, next_values)

    def _update_targets(self) -> None:
        for online, target in ((self.critic, self.critic_target), (self.actor, self.actor_target)):
            polyak_update(list(online.parameters()), list(target.parameters()), self.tau)
        polyak_update(self.critic_batch_norm_stats, self.critic_batch_norm_stats_target, 1.0)
        polyak_update(self.actor_batch_norm_stats, self.actor_batch_norm_stats_target, 1.0)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "HyperTD3",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train; the arguments are those of Stable-Baselines3's ``learn``.

        Args:
            total_timesteps: Environment steps to take, over all environments together.
            callback: A callback, several, or a function.
            log_interval: Episodes between two records of the logger.
            tb_log_name: Name of the run in TensorBoard.
            reset_num_timesteps: Whether the count of steps starts at zero.
            progress_bar: Whether to show one.
        """
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_diagnostics"]
