"""ContextSAC: soft actor-critic whose networks see a context."""

from __future__ import annotations

from typing import ClassVar

from stable_baselines3.common.policies import BasePolicy

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
