"""HyperMAML: a hypernetwork policy of tasks that adapts by gradient steps, trained by trust regions."""

from hyperrl_agents.hyper_maml.agent import HyperMAML

__all__ = ["HyperMAML"]
