"""ContextSAC: SAC whose networks see a context, each in its own way."""

from hyperrl_agents.context_sac.agent import ContextSAC

__all__ = ["ContextSAC"]
