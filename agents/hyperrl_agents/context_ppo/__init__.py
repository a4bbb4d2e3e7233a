"""ContextPPO: PPO whose networks see a context, each in its own way."""

from hyperrl_agents.context_ppo.agent import ContextPPO

__all__ = ["ContextPPO"]
