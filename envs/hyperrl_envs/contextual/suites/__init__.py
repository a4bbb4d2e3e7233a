"""Families of tasks whose contexts change dynamics, rewards or both."""

from __future__ import annotations

from hyperrl_envs.contextual.suites.suite import Plan, Suite, suite_of

__all__ = ["Plan", "Suite", "suite_of"]
