"""PPO whose minibatch update and whose acting are one compiled graph each."""

from hyperrl_agents.compiled_ppo.agent import CompiledPPO

__all__ = ["CompiledPPO"]
