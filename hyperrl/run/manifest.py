"""Where a run came from: versions, code, machine, command, times."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "hyperrl",
    "torch",
    "stable-baselines3",
    "gymnasium",
    "mujoco",
    "numpy",
    "safetensors",
    "tensorboard",
)


def build_manifest(seed: int) -> dict[str, Any]:
    """Return what identifies a run that starts now, as JSON values.

    Args:
        seed: The run's seed.
    """
    return {
        "started": utc_now(),
        "finished": None,
        "seed": seed,
        "argv": sys.argv,
        "working_directory": os.getcwd(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "git": {"hyperrl": git_commit(Path(__file__).parent), "working_directory": git_commit(Path.cwd())},
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": available_cores(),
    }


def package_versions() -> dict[str, str | None]:
    """Return the versions of the packages that decide results; None where one is not installed."""
    return dict(_versions(PACKAGES))


@functools.cache
def _versions(names: tuple[str, ...]) -> dict[str, str | None]:
    # Each is read from files, and every checkpoint asks.
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out in a folder, with "-dirty" where tracked files differ from it.

    Args:
        folder: Any folder of the checkout.

    Returns:
        The 40 digits, or None where there is no git or no commit, or where git ignores the folder, as it does
        a virtual environment.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None or _git(folder, "check-ignore", "-q", ".") is not None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """Return the processor's model name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def utc_now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
