"""Fixtures of the tests that inject faults into real processes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# The tests have no packages: a neighbour is imported by its path, and once.
for _name in ("fork_server",):
    if _name not in sys.modules:
        _spec = importlib.util.spec_from_file_location(_name, Path(__file__).with_name(f"{_name}.py"))
        sys.modules[_name] = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_name])


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A process that forks `hyperrl` commands."""
    from fork_server import ForkServer

    server = ForkServer(tmp_path_factory.mktemp("server"))
    yield server
    server.close()
