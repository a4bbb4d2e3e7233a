"""Spaces of network architectures, and the order in which they are trained."""

from hyperrl.nets.architectures.samplers import SAMPLERS, ArchitectureSampler
from hyperrl.nets.architectures.space import Architecture, ArchitectureSpace

__all__ = ["SAMPLERS", "Architecture", "ArchitectureSampler", "ArchitectureSpace"]
