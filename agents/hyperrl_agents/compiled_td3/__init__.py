"""TD3 whose gradient step is one compiled graph."""

from hyperrl_agents.compiled_td3.agent import CompiledTD3

__all__ = ["CompiledTD3"]
