"""What the tests of worker processes share: who runs, who ended, environments that leave nothing behind."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np

from hyperrl.sb3.workers import WorkerVecEnv

METHODS = ("forkserver", "spawn", "fork")
ACTIONS = np.zeros((2, 2), np.float32)
HANG = 1.0  # Seconds; much longer than an idle environment ever takes.
AT_ONCE = 5.0  # Seconds in which a failure has to be known on a busy machine; it takes a few milliseconds.


def running(pid):
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def all_gone(pids, seconds=5.0):
    """Wait until none of the processes runs; return those that still do."""
    end = time.monotonic() + seconds
    while (left := [pid for pid in pids if running(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def children(pid):
    """Return the process ids of all descendants."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


@contextlib.contextmanager
def workers(*env_fns, **settings):
    """Environments that are closed at the end, in a few seconds, with no process left."""
    venv = WorkerVecEnv(list(env_fns), **settings)
    pids = {process.pid for process in venv.processes}
    try:
        yield venv
    finally:
        pids |= {worker.process.pid for worker in venv.remotes if not worker.process._closed}
        begin = time.monotonic()
        venv.close()
        assert time.monotonic() - begin < AT_ONCE
        assert all_gone(pids, 1.0) == []
