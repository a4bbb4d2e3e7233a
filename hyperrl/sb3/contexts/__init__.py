"""Agents that see the context of their task: networks, grouping of rows by context, policies, replay."""

from __future__ import annotations

from hyperrl.sb3.contexts.groups import Grouping, Groups
from hyperrl.sb3.contexts.networks import KINDS, ContextNet, NetConfig, make_net, matched
from hyperrl.sb3.contexts.observed import Observed

__all__ = ["KINDS", "ContextNet", "Grouping", "Groups", "NetConfig", "Observed", "make_net", "matched"]
