"""Twin delayed DDPG (Fujimoto et al., 2018) exactly as in Stable-Baselines3."""

from stable_baselines3 import TD3

__all__ = ["TD3"]
