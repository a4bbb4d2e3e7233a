"""SAC whose gradient step is one compiled graph."""

from hyperrl_agents.compiled_sac.agent import CompiledSAC

__all__ = ["CompiledSAC"]
