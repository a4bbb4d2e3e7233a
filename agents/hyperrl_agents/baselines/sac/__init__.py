"""Soft actor-critic (Haarnoja et al., 2018) as in Stable-Baselines3."""

from hyperrl_agents.baselines.sac.agent import SAC

__all__ = ["SAC"]
