"""What the folder of a run tells about it, read without loading anything that trains."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperrl.errors import HyperRLError
from hyperrl.run.folder import RunFolder

WAITING = "waiting"
INTERRUPTED = "interrupted"
RUNNING = "running"
FINISHED = "finished"
FAILED = "failed"
STOPPED = "stopped"
LOG_FILE = "run.log"


@dataclass(frozen=True)
class RunRecord:
    """How far a run is.

    Attributes:
        status: "waiting" (there is no such run yet), "running", "interrupted" (its process is gone),
            "stopped", "failed" or "finished".
        steps: Environment steps taken.
        seconds: Seconds of learning until the last evaluation; None before the first.
        first_return: Mean return of the first evaluation.
        last_return: Mean return of the last evaluation.
        error: Why it failed, in one sentence.
    """

    status: str
    steps: int = 0
    seconds: float | None = None
    first_return: float | None = None
    last_return: float | None = None
    error: str = ""


def read_record(path: Path, *, alive: bool = False) -> RunRecord:
    """Read how far a run is; what cannot be read counts as not there.

    Args:
        path: The run's folder, which may not exist.
        alive: Whether a process works on it now.
    """
    status = _status(path)
    state, steps = status.get("state"), status.get("steps")
    if alive:
        state = RUNNING
    elif state is None:
        return RunRecord(WAITING)
    elif state not in (FINISHED, FAILED, STOPPED):
        state = INTERRUPTED
    if state == INTERRUPTED:
        # What came after the last checkpoint is lost.
        names = RunFolder(path).store.names()
        steps = int(names[-1].rpartition("-")[2]) if names else 0
    error = str(status.get("error", "")) if state == FAILED else ""
    return RunRecord(str(state), steps if isinstance(steps, int) else 0, *_evaluations(path), error=error)


def log_beside(path: Path) -> Path:
    """Return where the output of a run's process goes while it works: a new run's folder must be empty.

    Args:
        path: The run's folder.
    """
    return path.with_name(f"{path.name}.log")


def settle_log(path: Path) -> Path:
    """Move the log of a process that has ended into the run's folder, if it has one.

    Args:
        path: The run's folder.

    Returns:
        Where the log is.
    """
    beside, inside = log_beside(path), path / LOG_FILE
    if beside.exists() and (path / "run.toml").exists():
        beside.replace(inside)
    return inside if inside.exists() else beside


def last_line(log: Path) -> str:
    """Return the last line of a log that says anything, without the program's name; "" if there is none.

    Args:
        log: The log.
    """
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("hyperrl: ") if said else ""


def _status(path: Path) -> Mapping[str, Any]:
    try:
        return RunFolder(path).status()
    except HyperRLError:
        return {}


def _evaluations(path: Path) -> tuple[float | None, float | None, float | None]:
    """Return the seconds of the last evaluation and the mean returns of the first and the last."""
    try:
        with (path / "eval" / "evaluations.csv").open(newline="", encoding="utf-8") as file:
            rows = [
                (int(row["steps"]), float(row["seconds"]), float(row["return"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError):
        # None yet, or a row of it is being written just now.
        return None, None, None
    if not rows:
        return None, None, None
    means = [statistics.fmean(r for steps, _, r in rows if steps == rows[end][0]) for end in (0, -1)]
    return rows[-1][1], means[0], means[1]
