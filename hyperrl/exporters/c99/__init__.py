"""Policies as C99."""

from hyperrl.exporters.c99.compiling import CompiledPolicy
from hyperrl.exporters.c99.exporter import C99Exporter

__all__ = ["C99Exporter", "CompiledPolicy"]
