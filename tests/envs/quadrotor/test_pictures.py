"""Pictures and films, in a process of their own: MuJoCo chooses how it draws when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hyperrl.cli.doctor import check_rendering

ROOT = Path(__file__).parents[3]


def test_pictures_and_films():
    (found,) = check_rendering()
    if found.verdict != "ok":
        pytest.skip("nothing can be drawn here")
    backend = found.detail.removeprefix("MUJOCO_GL=")
    tests = str(Path(__file__).with_name("drawn_pictures.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", tests],
        env={**os.environ, "MUJOCO_GL": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "4 passed" in done.stdout
