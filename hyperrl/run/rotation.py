"""Which checkpoints and replay segments of a store stay, and how the others go without harm."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperrl.errors import CheckpointCorruptError, CheckpointError
from hyperrl.run.files import FILES, Files, remove_tree
from hyperrl.run.members import Manifest, is_segment_name
from hyperrl.run.reading import UnreadableError

REPLAY = "replay"
# A second number marks a step that was saved again while the older one was still there.
_FOLDER = re.compile(r"step-([0-9]{12,20})(?:\.([0-9]{1,9}))?")


class RemovalError(OSError):
    """A new checkpoint is written and counts, but what it makes superfluous could not be removed."""


# What a save that was killed may leave behind; no other hidden or temporary file is touched.
_LEFTOVER = re.compile(
    r"\.step-[0-9.]+\.(?:new|old)|(?:latest|best)\.json\.[0-9]+\.tmp|[0-9a-f]{32}\.safetensors\.[0-9]+\.tmp"
)


@dataclass(frozen=True)
class Entry:
    """A checkpoint in a store, complete but perhaps damaged.

    Attributes:
        path: Its folder.
        steps: The environment steps in its name.
        revision: The second number in its name, or 0.
        manifest: What its manifest says; None if that is damaged or unknown.
        unknown: Whether the manifest could not be read now, or is of a newer hyperrl: it may be good.
    """

    path: Path
    steps: int
    revision: int
    manifest: Manifest | None
    unknown: bool = False

    @property
    def order(self) -> tuple[int, int, int]:
        """What sorts checkpoints from the oldest to the newest; those without a manifest come first."""
        return (-1 if self.manifest is None else self.manifest.serial, self.steps, self.revision)


def folder_name(steps: int, revision: int = 0) -> str:
    """Return the name of a checkpoint's folder.

    Args:
        steps: Environment steps, at least 0.
        revision: See `Entry`.
    """
    return f"step-{steps:012d}" + (f".{revision}" if revision else "")


def steps_of(name: str) -> int | None:
    """Return the steps in the name of a checkpoint's folder, or None where it is another name.

    Args:
        name: For example "step-000000012000".
    """
    match = _FOLDER.fullmatch(name)
    return int(match[1]) if match else None


def entries(folder: Path) -> list[Entry]:
    """Return the checkpoints of a store, the oldest first.

    Args:
        folder: The store's folder, which may be missing.

    Raises:
        UnreadableError: The folder cannot be read.
    """
    found = [_entry(folder / name, match) for name in _names(folder) if (match := _FOLDER.fullmatch(name))]
    return sorted(found, key=lambda entry: entry.order)


def tidy(folder: Path, files: Files = FILES) -> None:
    """Remove what saves left behind that were killed or failed.

    Args:
        folder: The store's folder.
        files: What removes.

    Raises:
        OSError: Something cannot be removed.
    """
    for parent in (folder, folder / REPLAY):
        for name in _names(parent):
            if _LEFTOVER.fullmatch(name):
                remove_tree(parent / name, files)


def rotate(
    folder: Path, found: Sequence[Entry], keep: int, pinned: Collection[Path], files: Files = FILES
) -> list[Entry]:
    """Remove all checkpoints but the newest ones and the pinned ones.

    A step that was saved again counts once, and its newest one gets the plain name when that is free.

    Args:
        folder: The store's folder.
        found: All checkpoints in it, the oldest first.
        keep: How many of the newest stay, at least 1.
        pinned: Folders of others that stay.
        files: What moves and removes.

    Returns:
        Those that stay; some may have another name by now.

    Raises:
        OSError: Something cannot be removed; no checkpoint is half removed.
    """
    known = [entry for entry in found if not entry.unknown]
    newest: dict[int, Path] = {}
    for entry in known:
        newest.pop(entry.steps, None)
        newest[entry.steps] = entry.path
    stay = {*pinned, *list(newest.values())[-keep:]}
    hidden = []
    # Each disappears at once, by a new name; only then its files go, one by one.
    for entry in known:
        if entry.path not in stay:
            hidden.append(folder / f".{entry.path.name}.old")
            files.replace(entry.path, hidden[-1])
    renamed = False
    for entry in known:
        plain = folder / folder_name(entry.steps)
        if entry.path in stay and not os.path.lexists(plain):
            files.replace(entry.path, plain)
            renamed = True
    if hidden or renamed:
        files.sync_folder(folder)
    for path in hidden:
        remove_tree(path, files)
    return [entry for entry in found if entry.unknown or entry.path in stay]


def drop_segments(
    folder: Path, found: Sequence[Entry], wanted: Collection[str], files: Files = FILES
) -> None:
    """Remove the replay segments that no checkpoint refers to.

    Args:
        folder: The store's folder.
        found: All checkpoints in it.
        wanted: Names of other segments that stay.
        files: What removes.

    Raises:
        OSError: One cannot be removed.
    """
    if any(entry.unknown for entry in found):
        return
    stay = {*wanted}
    for entry in found:
        if entry.manifest is not None:
            stay.update(segment.name for segment in entry.manifest.segments)
    for name in _names(folder / REPLAY):
        if is_segment_name(name) and name not in stay:
            files.remove(folder / REPLAY / name)


def _entry(path: Path, match: re.Match[str]) -> Entry:
    steps, revision = int(match[1]), int(match[2] or 0)
    try:
        return Entry(path, steps, revision, Manifest.read(path))
    except UnreadableError:
        return Entry(path, steps, revision, None, unknown=True)
    except CheckpointCorruptError:
        return Entry(path, steps, revision, None)
    except CheckpointError:
        return Entry(path, steps, revision, None, unknown=True)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnreadableError(f"{folder} cannot be read: {error.strerror or error}") from error
