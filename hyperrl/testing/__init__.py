"""The conformance kit: what everything that can be registered has to promise, for tests of your own."""

from hyperrl.testing.agent import AgentCheckError, check_agent
from hyperrl.testing.hypernet import HyperNetCheckError, check_hypernet, reference_forward

__all__ = ["AgentCheckError", "HyperNetCheckError", "check_agent", "check_hypernet", "reference_forward"]
