"""Generators of weights for every architecture of a space, one to a file."""

from hyperrl.nets.architectures.generators.base import WeightGenerator

__all__ = ["WeightGenerator"]
