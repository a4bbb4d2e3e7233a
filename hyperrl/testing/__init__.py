"""The conformance kit: what everything that can be registered has to promise, for tests of your own."""

from hyperrl.testing.agent import AgentCheckError, check_agent
from hyperrl.testing.exporter import ExporterCheckError, check_exporter, hard_policies
from hyperrl.testing.generator import GeneratorCheckError, check_generator
from hyperrl.testing.hypernet import HyperNetCheckError, check_hypernet, reference_forward

__all__ = [
    "AgentCheckError",
    "ExporterCheckError",
    "GeneratorCheckError",
    "HyperNetCheckError",
    "check_agent",
    "check_exporter",
    "check_generator",
    "check_hypernet",
    "hard_policies",
    "reference_forward",
]
