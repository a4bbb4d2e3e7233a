"""From a plain policy to files for another machine, each proved equal to the policy before it appears.

What builds artefacts is loaded when first used: a budget needs none of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hyperrl.exporters.base import Act, Artefact, Exporter
from hyperrl.exporters.budget import Budget, budget_of
from hyperrl.exporters.interface import Interface, interface_of
from hyperrl.exporters.microcontrollers import MICROCONTROLLERS, Microcontroller, microcontroller
from hyperrl.exporters.subject import Exported, Request, Subject, plain_subject

if TYPE_CHECKING:
    from hyperrl.exporters.building import export_subject as export_subject
    from hyperrl.exporters.building import verify as verify

__all__ = [
    "MICROCONTROLLERS",
    "Act",
    "Artefact",
    "Budget",
    "Exported",
    "Exporter",
    "Interface",
    "Microcontroller",
    "Request",
    "Subject",
    "budget_of",
    "export_subject",
    "interface_of",
    "microcontroller",
    "plain_subject",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load what builds artefacts when it is first used (PEP 562)."""
    if name not in ("export_subject", "verify"):
        raise AttributeError(f"module 'hyperrl.exporters' has no attribute {name!r}")
    return getattr(importlib.import_module("hyperrl.exporters.building"), name)
