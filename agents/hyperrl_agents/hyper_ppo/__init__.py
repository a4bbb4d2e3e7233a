"""HyperPPO: one PPO run that yields a policy for every architecture of a space (Hegde et al., ICRA 2024)."""

from hyperrl_agents.hyper_ppo.agent import HyperPPO

__all__ = ["HyperPPO"]
