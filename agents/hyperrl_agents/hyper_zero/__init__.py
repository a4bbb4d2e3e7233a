"""HyperZero: a policy and a value function for every context, from solved tasks."""

from hyperrl_agents.hyper_zero.agent import HyperZero

__all__ = ["HyperZero"]
