"""What `hyperrl doctor DIR` looks at in a run's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

from hyperrl.cli.finding import Finding
from hyperrl.errors import CheckpointError, RunFolderError, UnknownNameError
from hyperrl.run.folder import RunFolder
from hyperrl.run.manifest import package_versions

_ALIVE = ("created", "running")


def checks_of_run(folder: RunFolder) -> tuple[Callable[[], Iterator[Finding]], ...]:
    """Return the checks of one run.

    Args:
        folder: The run's folder.
    """

    def check_state() -> Iterator[Finding]:
        yield _state(folder)

    def check_versions_of_run() -> Iterator[Finding]:
        yield _versions(folder)

    def check_checkpoints() -> Iterator[Finding]:
        yield from _checkpoints(folder)

    def check_disk_of_run() -> Iterator[Finding]:
        free = shutil.disk_usage(folder.path).free
        size = sum(path.stat().st_size for path in folder.checkpoints.rglob("*") if path.is_file())
        verdict = "ok" if free >= size else "warn"
        yield Finding(
            "disk of run", verdict, f"{free / 2**30:.1f} GiB free, {size / 2**20:.1f} MiB of checkpoints"
        )

    return check_state, check_versions_of_run, check_checkpoints, check_disk_of_run


def _state(folder: RunFolder) -> Finding:
    status = folder.status()
    state, steps = status.get("state"), status.get("steps")
    detail = f"{state} after {steps:,} steps" if isinstance(steps, int) else str(state)
    if "error" in status:
        detail += f", {status['error']}"
    if state not in _ALIVE:
        return Finding("run", "warn" if state == "failed" else "ok", detail)
    try:
        with folder.lock:
            return Finding(
                "run",
                "warn",
                f"{detail}, but no process trains in it: it was killed; hyperrl resume continues it",
            )
    except RunFolderError as error:
        return Finding("run", "ok", f"{detail}; {error}")


def _versions(folder: RunFolder) -> Finding:
    then, now = folder.manifest().get("packages", {}), package_versions()
    changed = [f"{name} {then.get(name)} -> {now[name]}" for name in now if then.get(name) != now[name]]
    if not changed:
        return Finding("versions", "ok", "the same as when the run began")
    return Finding("versions", "warn", f"{', '.join(changed)}: a resume would not be bit for bit")


def _checkpoints(folder: RunFolder) -> Iterator[Finding]:
    store = folder.store
    names = store.names()
    if not names:
        yield Finding("checkpoints", "warn", "none yet")
    for name in names:
        try:
            store.verify(name)
        except CheckpointError as error:
            yield Finding(name, "FAIL", str(error))
        else:
            yield Finding(name, "ok", "all files are what was written")
    for name in ("latest", "best") if names else ():
        try:
            store.verify(name)
            yield Finding(name, "ok", store.load(name, replay=False).name)
        except CheckpointError as error:
            yield Finding(name, "FAIL", str(error))
        except UnknownNameError:
            continue  # A run that was imported has no best one.
