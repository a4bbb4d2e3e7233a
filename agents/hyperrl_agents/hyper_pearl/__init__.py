"""HyperPEARL: a task is inferred from a few steps, and the policy of the task is generated."""

from hyperrl_agents.hyper_pearl.agent import HyperPEARL

__all__ = ["HyperPEARL"]
