"""ContextTD3: twin delayed DDPG whose networks see a context."""

from __future__ import annotations

from typing import ClassVar, Self

from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback

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

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "ContextTD3",
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
