"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole: it holds the old text or the new one, never a part.

    Args:
        path: The file; its folder exists.
        text: The new content.

    Raises:
        OSError: The file cannot be written; the old one is untouched.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole, see `write_text`.

    Args:
        path: The file.
        table: What it shall hold.
    """
    write_text(path, json.dumps(table, indent=2) + "\n")


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to be filled, and put it in place of `path` if the block ends well.

    Args:
        path: The folder to appear, or to be replaced.

    Yields:
        A folder beside it. When the block raises, it is removed and `path` stays as it was.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    filling = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    # The folder of `mkdtemp` is private; a checkpoint is readable like any other file of the run.
    filling.chmod(0o777 & ~_umask())
    old = filling.with_name(f"{filling.name}-old")
    try:
        yield filling
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, old)
        os.replace(filling, path)
    finally:
        shutil.rmtree(filling, ignore_errors=True)
        if not path.exists() and old.exists():
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
