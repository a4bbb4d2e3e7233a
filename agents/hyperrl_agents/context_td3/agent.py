"""ContextTD3: twin delayed DDPG whose networks see a context."""

from __future__ import annotations

from typing import ClassVar

from stable_baselines3.common.policies import BasePolicy

from hyperrl.sb3.contexts.off_policy import ContextTD3Policy
from hyperrl.sb3.contexts.off_policy_agent import ContextOffPolicyMixin
from hyperrl.sb3.obstacles import obstacle
from hyperrl_agents.compiled_td3 import CompiledTD3


class ContextTD3(ContextOffPolicyMixin, CompiledTD3):
    """Twin delayed DDPG (Fujimoto et al., ICML 2018) whose networks see the context, each in its own way.

    Takes the arguments of `CompiledTD3` (and so of Stable-Baselines3's `TD3`), and ``contexts_per_batch`` and
    ``balance`` of `hyperrl.sb3.contexts.off_policy_agent.ContextOffPolicyMixin`; ``policy_kwargs`` takes
    ``actor``, ``critic`` and ``match_params`` besides, see
    `hyperrl.sb3.contexts.policy.ContextPolicyMixin`.

    Example:
        >>> from hyperrl import ContextTD3
        >>> model = ContextTD3("MlpPolicy", "Pendulum-v1", policy_kwargs=dict(actor="film"))
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ContextTD3Policy,
        "MultiInputPolicy": ContextTD3Policy,
    }
    policy: ContextTD3Policy

    def _why_not_compiled(self) -> str | None:
        networks = {"actor": self.actor, "critic": self.critic}
        optimizers = {name: network.optimizer for name, network in networks.items()}
        return self._why_ungrouped() or obstacle(networks, optimizers)
