"""Soft actor-critic (Haarnoja et al., 2018) exactly as in Stable-Baselines3."""

from stable_baselines3 import SAC

__all__ = ["SAC"]
