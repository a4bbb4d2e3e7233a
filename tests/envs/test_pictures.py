"""Pictures and films, in a process of their own: MuJoCo chooses how it draws when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hyperrl.cli.doctor import check_rendering

HERE = Path(__file__).parent
DRAWN = sorted(str(path) for path in HERE.rglob("drawn_pictures.py"))


def test_pictures_and_films():
    (found,) = check_rendering()
    if found.verdict != "ok":
        pytest.skip("nothing can be drawn here")
    backend = found.detail.removeprefix("MUJOCO_GL=")
    assert len(DRAWN) == 3
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *DRAWN],
        env={**os.environ, "MUJOCO_GL": backend},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "6 passed" in done.stdout
