"""Twin delayed DDPG (Fujimoto et al., 2018) as in Stable-Baselines3."""

from hyperrl_agents.baselines.td3.agent import TD3

__all__ = ["TD3"]
