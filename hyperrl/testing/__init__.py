"""The conformance kit: what everything that can be registered has to promise, for tests of your own."""

from hyperrl.testing.agent import AgentCheckError, check_agent
from hyperrl.testing.context_env import ContextEnvCheckError, check_context_env
from hyperrl.testing.exporter import ExporterCheckError, check_exporter, hard_policies
from hyperrl.testing.generator import GeneratorCheckError, check_generator
from hyperrl.testing.hypernet import HyperNetCheckError, check_hypernet, reference_forward

__all__ = [
    "AgentCheckError",
    "ContextEnvCheckError",
    "ExporterCheckError",
    "GeneratorCheckError",
    "HyperNetCheckError",
    "check_agent",
    "check_context_env",
    "check_exporter",
    "check_generator",
    "check_hypernet",
    "hard_policies",
    "reference_forward",
]
