"""Contexts of tasks: parameters, spaces of them, and splits into what is trained on and what is not.

A context is what changes from one task of a family to another: the mass of a robot, the friction of the
floor, the velocity that is asked for. This package uses NumPy alone.
"""

from __future__ import annotations

from hyperrl.context.param import LEVELS, OPERATIONS, ContextParam
from hyperrl.context.region import Region
from hyperrl.context.showing import shown, shown_bounds, shown_size
from hyperrl.context.space import ContextSpace
from hyperrl.context.split_modes import MODES, make_splits
from hyperrl.context.splits import Splits

__all__ = [
    "LEVELS",
    "MODES",
    "OPERATIONS",
    "ContextParam",
    "ContextSpace",
    "Region",
    "Splits",
    "make_splits",
    "shown",
    "shown_bounds",
    "shown_size",
]
