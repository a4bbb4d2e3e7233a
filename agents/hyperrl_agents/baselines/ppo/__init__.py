"""Proximal policy optimisation (Schulman et al., 2017) as in Stable-Baselines3."""

from hyperrl_agents.baselines.ppo.agent import PPO

__all__ = ["PPO"]
