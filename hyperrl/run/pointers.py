"""The pointers "latest" and "best" of a store: small files that say which checkpoint they mean."""

from __future__ import annotations

import os
from pathlib import Path

from hyperrl.errors import CheckpointCorruptError
from hyperrl.run.files import FILES, Files, write_parts
from hyperrl.run.members import MANIFEST
from hyperrl.run.rotation import steps_of
from hyperrl.run.sealed import read_sealed, seal, sha256, unseal

LATEST = "latest"
BEST = "best"
POINTERS = (LATEST, BEST)


def write_pointer(folder: Path, pointer: str, name: str, manifest: bytes, files: Files = FILES) -> None:
    """Let a pointer mean another checkpoint, at once.

    Args:
        folder: The store's folder.
        pointer: "latest" or "best".
        name: The checkpoint's plain name.
        manifest: The content of its manifest, which tells it from others of the same step.
        files: What writes.

    Raises:
        OSError: It cannot be written; it means what it meant.
    """
    table = {"checkpoint": name, "manifest": sha256(manifest)}
    write_parts(folder / f"{pointer}.json", [seal(table)], files)


def read_pointer(folder: Path, pointer: str) -> Path:
    """Return the folder of the checkpoint that a pointer means.

    Args:
        folder: The store's folder.
        pointer: "latest" or "best".

    Raises:
        CheckpointCorruptError: The pointer, or the manifest that it means, is missing or damaged.
        CheckpointError: A newer hyperrl wrote it.
    """
    path = folder / f"{pointer}.json"
    table = unseal(read_sealed(path), path)
    name, wanted = table.get("checkpoint"), table.get("manifest")
    steps = steps_of(name) if type(name) is str else None
    if steps is None:
        raise CheckpointCorruptError(f"{path} is malformed: {name!r} is not the name of a checkpoint")
    # A step that was saved again may still lie under a name with a second number.
    for candidate in sorted(other for other in os.listdir(folder) if steps_of(other) == steps):
        try:
            if sha256(read_sealed(folder / candidate / MANIFEST)) == wanted:
                return folder / candidate
        except CheckpointCorruptError:
            continue
    manifest = folder / str(name) / MANIFEST
    unseal(read_sealed(manifest), manifest)
    raise CheckpointCorruptError(f"{manifest} is not the one that {path.name} was written for")
