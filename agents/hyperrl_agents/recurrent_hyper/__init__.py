"""RecurrentHyper: a memory of a task's history generates actor and critic, or is seen by them."""

from hyperrl_agents.recurrent_hyper.agent import RecurrentHyper

__all__ = ["RecurrentHyper"]
