"""Where a new run goes."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from hyperrl.config import RunConfig
from hyperrl.errors import RunFolderError


def default_folder(config: RunConfig) -> Path:
    """Return a new path <root>/<env>/<agent>/<UTC time>-s<seed>; the root is `$HYPERRL_RUNS` or `./runs`.

    Args:
        config: The run's configuration.
    """
    root = Path(os.environ.get("HYPERRL_RUNS") or "runs")
    parent = root / _plain(config.env) / _plain(config.agent)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-s{config.seed}"
    path, count = parent / name, 1
    while path.exists():
        count += 1
        path = parent / f"{name}-{count}"
    return path


def refuse_taken(path: Path) -> None:
    """Refuse a place where a new run cannot have its folder.

    Args:
        path: A new or an empty folder.

    Raises:
        RunFolderError: Something else is there.
    """
    try:
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file: choose a new or an empty folder")
        if (path / "run.toml").exists():
            raise RunFolderError(f"{path} already holds a run: choose another folder")
        if path.is_dir() and next(path.iterdir(), None) is not None:
            raise RunFolderError(f"{path} already holds files: choose a new or an empty folder")
    except RunFolderError:
        raise
    except OSError as error:
        raise RunFolderError(f"the run folder {path} cannot be used: {error.strerror or error}") from error


def _plain(name: str) -> str:
    """Return the name as one folder name that every file system takes."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".") or "unnamed"
