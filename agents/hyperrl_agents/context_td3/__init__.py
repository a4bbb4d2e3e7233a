"""ContextTD3: TD3 whose networks see a context, each in its own way."""

from hyperrl_agents.context_td3.agent import ContextTD3

__all__ = ["ContextTD3"]
