"""HyperSAC: SAC whose value functions are generated from the state."""

from hyperrl_agents.hyper_sac.agent import HyperSAC

__all__ = ["HyperSAC"]
