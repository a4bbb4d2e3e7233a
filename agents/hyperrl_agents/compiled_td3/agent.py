"""CompiledTD3: Stable-Baselines3's TD3 with a gradient step that can be compiled as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from stable_baselines3 import TD3
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from hyperrl.compiled import constants_of
from hyperrl.sb3.diagnostics import LossMeans
from hyperrl.sb3.obstacles import obstacle
from hyperrl.sb3.off_policy import OffPolicyUpdates, trained
from hyperrl.sb3.policies import FiniteTD3CnnPolicy, FiniteTD3MultiInputPolicy, FiniteTD3Policy
from hyperrl.sb3.polyak import polyak_update
from hyperrl_agents.compiled_td3 import losses
from hyperrl_agents.compiled_td3.stacked import StackedTD3
from hyperrl_agents.compiled_td3.update import TD3Update


class CompiledTD3(OffPolicyUpdates, TD3):
    """Twin delayed DDPG (Fujimoto et al., ICML 2018), its gradient step one compiled graph.

    Takes the arguments of Stable-Baselines3's `TD3`, and ``compile`` and ``precision`` of
    `hyperrl.sb3.compiled_updates.CompiledUpdates`. It learns what Stable-Baselines3's learns, up to rounding.

    Example:
        >>> from hyperrl import CompiledTD3
        >>> model = CompiledTD3("MlpPolicy", "Pendulum-v1", compile=False)
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FiniteTD3Policy,
        "CnnPolicy": FiniteTD3CnnPolicy,
        "MultiInputPolicy": FiniteTD3MultiInputPolicy,
    }

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update critics on every step, actor and targets on every ``policy_delay``-th.

        Args:
            gradient_steps: Number of updates.
            batch_size: Transitions per update.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
        means = LossMeans()
        update = self._updates()
        with self._in_precision():
            for _ in range(gradient_steps):
                self._n_updates += 1
                batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
                noise = torch.empty_like(batch.actions).normal_(0, self.target_policy_noise)
                loss = self._attempt(update, self._update_compiled, update, batch, noise)
                if loss is None:
                    loss = self._update_critics(batch, noise)
                means.add("critic_loss", loss)
                if self._n_updates % self.policy_delay == 0:
                    loss = self._attempt(update, self._update_actor_compiled, update, batch)
                    if loss is None:
                        loss = self._update_actor(batch)
                        self._update_targets()
                    means.add("actor_loss", loss)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        means.record(self.logger)

    def _update_compiled(self, update: TD3Update, batch: Any, noise: Tensor) -> Tensor:
        self._before_compiled(batch, noise)
        return update.critics(self._batch(batch, noise=noise))

    def _update_actor_compiled(self, update: TD3Update, batch: Any) -> Tensor:
        return update.actor(batch.observations)

    def _update_critics(self, batch: Any, noise: Tensor) -> Tensor:
        target = self._td_target(batch, noise)
        values = self.critic(batch.observations, batch.actions)
        loss = losses.critic_loss(values, target)
        self.critic.optimizer.zero_grad()
        loss.backward()
        self._after_critic_backward(batch, values)
        self.critic.optimizer.step()
        return loss

    @torch.no_grad()
    def _td_target(self, batch: Any, noise: Tensor) -> Tensor:
        discounts = self.gamma if batch.discounts is None else batch.discounts
        target_actions = self.actor_target(batch.next_observations)
        next_actions = losses.smoothed_actions(target_actions, noise, self.target_noise_clip)
        next_values = self.critic_target(batch.next_observations, next_actions)
        return losses.td_target(batch.rewards, batch.dones, discounts, next_values)

    def _update_actor(self, batch: Any) -> Tensor:
        actions = self.actor(batch.observations)
        loss = losses.actor_loss(self.critic.q1_forward(batch.observations, actions))
        self.actor.optimizer.zero_grad()
        parameters = trained(self.actor)
        if parameters:
            # The critics' gradients of this loss would be thrown away: they are not computed.
            loss.backward(inputs=parameters)
        self.actor.optimizer.step()
        return loss

    def _update_targets(self) -> None:
        for online, target in ((self.critic, self.critic_target), (self.actor, self.actor_target)):
            polyak_update(list(online.parameters()), list(target.parameters()), self.tau)
        polyak_update(self.critic_batch_norm_stats, self.critic_batch_norm_stats_target, 1.0)
        polyak_update(self.actor_batch_norm_stats, self.actor_batch_norm_stats_target, 1.0)

    def _after_critic_backward(self, batch: Any, values: Sequence[Tensor]) -> None:
        """Called in updates that are not compiled, where the critics have gradients."""

    def _before_compiled(self, batch: Any, noise: Tensor) -> None:
        """Called before each compiled update, whose graph keeps no gradients."""

    @staticmethod
    def stacked(agents: Sequence[CompiledTD3], changed: Callable[[], None]) -> StackedTD3:
        """Return what makes the updates of several agents at once; see `hyperrl.SeedStack`.

        Args:
            agents: Agents that are built alike, but for their seeds.
            changed: Called when an agent's tensors were replaced.
        """
        return StackedTD3(agents, changed)

    def _make_compiled(self) -> TD3Update:
        return TD3Update(self)

    def _constants(self) -> tuple[Any, ...]:
        adam = constants_of(self.actor.optimizer), constants_of(self.critic.optimizer)
        return self.tau, self.target_noise_clip, *adam

    def _parts(self) -> tuple[Any, ...]:
        networks = self.actor, self.actor_target, self.critic, self.critic_target
        return *networks, self.actor.optimizer, self.critic.optimizer

    def _why_not_compiled(self) -> str | None:
        networks = {"actor": self.actor, "critic": self.critic}
        optimizers = {name: network.optimizer for name, network in networks.items()}
        return obstacle(networks, optimizers)
