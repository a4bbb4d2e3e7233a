"""CompiledSAC: Stable-Baselines3's SAC with a gradient step that can be compiled as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from hyperrl.compiled import constants_of
from hyperrl.sb3.acting import draw_noise, is_squashed_gaussian
from hyperrl.sb3.diagnostics import LossMeans
from hyperrl.sb3.obstacles import obstacle
from hyperrl.sb3.off_policy import OffPolicyUpdates, trained
from hyperrl.sb3.policies import FiniteSACCnnPolicy, FiniteSACMultiInputPolicy, FiniteSACPolicy
from hyperrl.sb3.polyak import polyak_update
from hyperrl_agents.compiled_sac import losses
from hyperrl_agents.compiled_sac.stacked import StackedSAC
from hyperrl_agents.compiled_sac.update import SACUpdate


class CompiledSAC(OffPolicyUpdates, SAC):
    """Soft actor-critic (Haarnoja et al., 2018b), its gradient step one compiled graph.

    Takes the arguments of Stable-Baselines3's `SAC`, and ``compile`` and ``precision`` of
    `hyperrl.sb3.compiled_updates.CompiledUpdates`. It learns what Stable-Baselines3's learns, up to rounding.

    Example:
        >>> from hyperrl import CompiledSAC
        >>> model = CompiledSAC("MlpPolicy", "Pendulum-v1", compile=False)
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FiniteSACPolicy,
        "CnnPolicy": FiniteSACCnnPolicy,
        "MultiInputPolicy": FiniteSACMultiInputPolicy,
    }

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update temperature, critics and actor on every step, targets at their interval.

        Args:
            gradient_steps: Number of updates.
            batch_size: Transitions per update.
        """
        self.policy.set_training_mode(True)
        optimizers = [self.actor.optimizer, self.critic.optimizer]
        if self.ent_coef_optimizer is not None:
            optimizers.append(self.ent_coef_optimizer)
        self._update_learning_rate(optimizers)
        means = LossMeans()
        update = self._updates()
        with self._in_precision():
            for step in range(gradient_steps):
                batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
                number, move_targets = self._n_updates + step + 1, step % self.target_update_interval == 0
                values = self._attempt(update, self._update_compiled, update, number, batch, move_targets)
                if values is None:
                    self._update(number, batch, means)
                    if move_targets:
                        self._update_targets()
                    continue
                for name, value in values.items():
                    means.add(name, value)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        means.record(self.logger)

    def _update_compiled(
        self, update: SACUpdate, number: int, batch: Any, move_targets: bool
    ) -> dict[str, Tensor]:
        noise, next_noise = draw_noise(batch.actions), draw_noise(batch.actions)
        self._before_compiled(number, batch)
        return update.step(self._batch(batch, noise=noise, next_noise=next_noise), move_targets)

    def _update(self, number: int, batch: Any, means: LossMeans) -> None:
        if self.use_sde:
            self.actor.reset_noise()
        actions, log_prob = self.actor.action_log_prob(batch.observations)
        log_prob = log_prob.reshape(-1, 1)
        ent_coef = self._update_temperature(log_prob, means)

        values = self.critic(batch.observations, batch.actions)
        critic_loss = losses.critic_loss(values, self._td_target(batch, ent_coef))
        self.critic.optimizer.zero_grad()
        critic_loss.backward()
        self._after_critic_backward(number, batch, values)
        self.critic.optimizer.step()
        means.add("critic_loss", critic_loss)

        actor_loss = losses.actor_loss(self.critic(batch.observations, actions), log_prob, ent_coef)
        self.actor.optimizer.zero_grad()
        parameters = trained(self.actor)
        if parameters:
            # The critics' gradients of this loss would be thrown away: they are not computed.
            actor_loss.backward(inputs=parameters)
        self.actor.optimizer.step()
        means.add("actor_loss", actor_loss)

    def _update_temperature(self, log_prob: Tensor, means: LossMeans) -> Tensor:
        """Step the temperature's optimiser, if there is one, and return the temperature before the step."""
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            means.add("ent_coef", self.ent_coef_tensor)
            return self.ent_coef_tensor
        ent_coef = self.log_ent_coef.detach().exp()
        loss = losses.temperature_loss(self.log_ent_coef, log_prob, float(self.target_entropy))
        self.ent_coef_optimizer.zero_grad()
        loss.backward()
        self.ent_coef_optimizer.step()
        means.add("ent_coef", ent_coef)
        means.add("ent_coef_loss", loss)
        return ent_coef

    @torch.no_grad()
    def _td_target(self, batch: Any, ent_coef: Tensor) -> Tensor:
        discounts = self.gamma if batch.discounts is None else batch.discounts
        next_actions, next_log_prob = self.actor.action_log_prob(batch.next_observations)
        next_values = self.critic_target(batch.next_observations, next_actions)
        return losses.td_target(batch.rewards, batch.dones, discounts, next_values, next_log_prob, ent_coef)

    def _update_targets(self) -> None:
        polyak_update(list(self.critic.parameters()), list(self.critic_target.parameters()), self.tau)
        polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)

    def _after_critic_backward(self, number: int, batch: Any, values: Sequence[Tensor]) -> None:
        """Called in updates that are not compiled, where the critics have gradients."""

    def _before_compiled(self, number: int, batch: Any) -> None:
        """Called before each compiled update, whose graph keeps no gradients."""

    @staticmethod
    def stacked(agents: Sequence[CompiledSAC], changed: Callable[[], None]) -> StackedSAC:
        """Return what makes the updates of several agents at once; see `hyperrl.SeedStack`.

        Args:
            agents: Agents that are built alike, but for their seeds.
            changed: Called when an agent's tensors were replaced.
        """
        return StackedSAC(agents, changed)

    def _make_compiled(self) -> SACUpdate:
        return SACUpdate(self)

    def _constants(self) -> tuple[Any, ...]:
        optimizers = self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer
        adam = (constants_of(optimizer) for optimizer in optimizers if optimizer is not None)
        return self.tau, self.target_entropy, *adam

    def _parts(self) -> tuple[Any, ...]:
        networks = self.actor, self.critic, self.critic_target
        temperature = self.ent_coef_optimizer, self.log_ent_coef, getattr(self, "ent_coef_tensor", None)
        return *networks, self.actor.optimizer, self.critic.optimizer, *temperature

    def _why_not_compiled(self) -> str | None:
        if self.use_sde:
            return "state-dependent exploration draws its noise inside the policy"
        if not is_squashed_gaussian(self.actor):
            return "the actor has a distribution of its own"
        optimizers = {"actor": self.actor.optimizer, "critic": self.critic.optimizer}
        if self.ent_coef_optimizer is not None:
            optimizers["temperature"] = self.ent_coef_optimizer
        return obstacle({"actor": self.actor, "critic": self.critic}, optimizers)
