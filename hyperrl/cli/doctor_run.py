"""What `hyperrl doctor DIR` looks at in a run's folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from hyperrl.cli.finding import Finding
from hyperrl.errors import CheckpointError, RunFolderError, UnknownNameError
from hyperrl.run.folder import RunFolder
from hyperrl.run.manifest import package_versions
from hyperrl.run.pointers import LATEST, POINTERS
from hyperrl.run.settings import check_settings
from hyperrl.run.store import CheckpointStore

_ALIVE = ("created", "running")
_LOOKS = 3


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

    def check_settings_of_run() -> Iterator[Finding]:
        yield from _settings(folder)

    def check_disk_of_run() -> Iterator[Finding]:
        free, size = shutil.disk_usage(folder.path).free, _size(folder.checkpoints)
        verdict = "ok" if free >= size else "warn"
        yield Finding(
            "disk of run", verdict, f"{free / 2**30:.1f} GiB free, {size / 2**20:.1f} MiB of checkpoints"
        )

    return check_state, check_versions_of_run, check_checkpoints, check_settings_of_run, check_disk_of_run


def _state(folder: RunFolder) -> Finding:
    status = folder.status()
    state, steps = status.get("state"), status.get("steps")
    detail = f"{state} after {steps:,} steps" if isinstance(steps, int) else str(state)
    if "error" in status:
        detail += f", {status['error']}"
    if state not in _ALIVE:
        return Finding("run", "warn" if state == "failed" else "ok", detail)
    try:
        holder = folder.lock.holder()
    except RunFolderError as error:
        return Finding("run", "warn", f"{detail}; {error}")
    if holder is not None:
        return Finding("run", "ok", f"{detail}; it is in use by {holder}")
    killed = "no process trains in it: it was killed; hyperrl resume continues it"
    return Finding("run", "warn", f"{detail}, but {killed}")


def _versions(folder: RunFolder) -> Finding:
    then, now = folder.manifest().get("packages", {}), package_versions()
    changed = [f"{name} {then.get(name)} -> {now[name]}" for name in now if then.get(name) != now[name]]
    if not changed:
        return Finding("versions", "ok", "the same as when the run began")
    return Finding("versions", "warn", f"{', '.join(changed)}: a resume would not be bit for bit")


def _settings(folder: RunFolder) -> Iterator[Finding]:
    config = folder.config()
    with warnings.catch_warnings():
        # Of a damaged checkpoint the others tell.
        warnings.simplefilter("ignore")
        try:
            checkpoint = folder.store.load(LATEST, replay=False)
        except CheckpointError:
            return
    try:
        notes = check_settings(config, checkpoint, folder.path / "run.toml")
    except RunFolderError as error:
        yield Finding("settings", "FAIL", str(error))
        return
    yield Finding("settings", "warn" if notes else "ok", "; ".join(notes) or "as in the last checkpoint")


def _checkpoints(folder: RunFolder) -> Iterator[Finding]:
    store = folder.store
    names = store.names()
    if not names:
        yield Finding("checkpoints", "warn", "none yet")
    for name in names:
        try:
            store.verify(name)
        except (CheckpointError, UnknownNameError) as error:
            # The process that trains removes old ones meanwhile, and gives some another name.
            if name in store.names():
                yield Finding(name, "FAIL", str(error))
        else:
            yield Finding(name, "ok", "all files are what was written")
    for name in POINTERS if names else ():
        yield from _pointer(store, name)


def _pointer(store: CheckpointStore, name: str) -> Iterator[Finding]:
    """Verify what a pointer means; one that moves meanwhile is looked at again."""
    for _ in range(_LOOKS):
        before = _bytes(store.folder / f"{name}.json")
        try:
            yield Finding(name, "ok", store.verify(name))
            return
        except UnknownNameError:
            return  # A run that was imported has no best one.
        except CheckpointError as error:
            fault = error
        if _bytes(store.folder / f"{name}.json") == before:
            yield Finding(name, "FAIL", str(fault))
            return
    yield Finding(name, "warn", "it moves on faster than it can be verified")


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder, some of which may vanish meanwhile."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += os.lstat(os.path.join(parent, name)).st_size
    return size
