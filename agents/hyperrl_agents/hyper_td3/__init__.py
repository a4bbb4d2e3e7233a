"""HyperTD3: TD3 whose value functions are generated from the state."""

from hyperrl_agents.hyper_td3.agent import HyperTD3

__all__ = ["HyperTD3"]
