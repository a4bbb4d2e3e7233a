"""Fixtures of the tests of sweeps."""

from __future__ import annotations

import pytest

from hyperrl.sweep import control, process
from tests.sweep.small_sweeps import PRETEND


@pytest.fixture
def pretend(monkeypatch):
    """Let the processes of runs only pretend, and the sweep look at them more often."""
    monkeypatch.setattr(process, "_PROGRAM", ("-c", PRETEND))
    monkeypatch.setattr(control, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(control, "_REFRESH_SECONDS", 0.02)
