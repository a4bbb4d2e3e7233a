"""ContextSAC: soft actor-critic whose networks see a context."""

from __future__ import annotations

from typing import ClassVar, Self

from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback

from hyperrl.sb3.contexts.off_policy import ContextSACPolicy
from hyperrl.sb3.contexts.off_policy_agent import ContextOffPolicyMixin
from hyperrl.sb3.obstacles import obstacle
from hyperrl_agents.compiled_sac import CompiledSAC


class ContextSAC(ContextOffPolicyMixin, CompiledSAC):
    """Soft actor-critic (Haarnoja et al., 2018b) whose networks see the task's context, each in its own way.

    Takes the arguments of `CompiledSAC` (and so of Stable-Baselines3's `SAC`), but for state-dependent
    exploration, and ``contexts_per_batch`` and ``balance`` of
    `hyperrl.sb3.contexts.off_policy_agent.ContextOffPolicyMixin`; ``policy_kwargs`` takes ``actor``,
    ``critic`` and ``match_params`` besides, see `hyperrl.sb3.contexts.policy.ContextPolicyMixin`.

    Example:
        >>> from hyperrl import ContextSAC
        >>> model = ContextSAC("MlpPolicy", "Pendulum-v1", policy_kwargs=dict(actor="film"))
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ContextSACPolicy,
        "MultiInputPolicy": ContextSACPolicy,
    }
    policy: ContextSACPolicy

    def _why_not_compiled(self) -> str | None:
        optimizers = {"actor": self.actor.optimizer, "critic": self.critic.optimizer}
        if self.ent_coef_optimizer is not None:
            optimizers["temperature"] = self.ent_coef_optimizer
        networks = {"actor": self.actor, "critic": self.critic}
        return self._why_ungrouped() or obstacle(networks, optimizers)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "ContextSAC",
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
