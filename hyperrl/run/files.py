"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


class Files:
    """The disk writes of a run, one method each, so that a test can let any single one of them fail.

    Every method raises OSError when the system refuses.
    """

    def open(self, path: Path) -> int:
        """Open a file for writing, empty.

        Args:
            path: The file; what it held is lost. A symbolic link is refused.

        Returns:
            A file descriptor, which the caller closes.
        """
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write all of `data`, where the system would take a part of it.

        Args:
            descriptor: What `open` returned.
            data: Bytes, or a contiguous view of bytes.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Wait until a file's content is on the disk.

        Args:
            descriptor: An open file.
        """
        os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Wait until a folder's list of names is on the disk.

        Args:
            path: The folder.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems cannot sync a folder, and keep its names safe by themselves.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Move a file or folder to a new name at once; a file of that name is replaced.

        Args:
            source: What is moved.
            target: Its new name, on the same disk.
        """
        os.replace(source, target)

    def make_folder(self, path: Path) -> None:
        """Make a folder whose parent exists.

        Args:
            path: The folder, which does not exist.
        """
        path.mkdir()

    def remove(self, path: Path) -> None:
        """Remove a file or a symbolic link.

        Args:
            path: What is removed.
        """
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder.

        Args:
            path: The folder.
        """
        path.rmdir()


FILES = Files()


def create_files(contents: Mapping[Path, Iterable[bytes | memoryview]], files: Files = FILES) -> None:
    """Write new files and wait until their content is on the disk; their names may not be yet.

    Args:
        contents: The parts of every file, in order; their folders exist.
        files: What writes.

    Raises:
        OSError: One cannot be written; all may be there in part.
    """
    with contextlib.ExitStack() as stack:
        descriptors = []
        for path, parts in contents.items():
            descriptors.append(files.open(path))
            stack.callback(os.close, descriptors[-1])
            for part in parts:
                files.write(descriptors[-1], part)
        # The disk gets all of them at once: the first wait is about as long as all together.
        for descriptor in descriptors:
            files.sync(descriptor)


def make_folders(path: Path, files: Files = FILES) -> None:
    """Make a folder and those above it, as far as they are missing, so that they survive a power cut.

    Args:
        path: The folder.
        files: What writes.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    make_folders(path.parent, files)
    files.make_folder(path)
    files.sync_folder(path.parent)


def remove_tree(path: Path, files: Files = FILES) -> None:
    """Remove a file, or a folder with all that is in it; symbolic links are removed, not followed.

    Args:
        path: What is removed.
        files: What writes.

    Raises:
        OSError: A part of it cannot be removed.
    """
    if path.is_symlink() or not path.is_dir():
        files.remove(path)
        return
    for child in sorted(path.iterdir()):
        remove_tree(child, files)
    files.remove_folder(path)


def write_parts(path: Path, parts: Iterable[bytes | memoryview], files: Files = FILES) -> None:
    """Replace a file as a whole, on the disk: it holds the old bytes or the new ones, never a part.

    Args:
        path: The file; its folder exists.
        parts: The new content, in order.
        files: What writes.

    Raises:
        OSError: The file cannot be written; the old one is untouched, but for the rare case that only the
            folder could not be synced after the new one was in place.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        create_files({temporary: parts}, files)
        files.replace(temporary, path)
    except BaseException:
        # A full disk gets its space back at once, where that works.
        with contextlib.suppress(OSError):
            files.remove(temporary)
        raise
    files.sync_folder(path.parent)


def write_text(path: Path, text: str, files: Files = FILES) -> None:
    """Replace a text file as a whole, see `write_parts`.

    Args:
        path: The file; its folder exists.
        text: The new content.
        files: What writes.

    Raises:
        OSError: The file cannot be written; the old one is untouched.
    """
    write_parts(path, [text.encode("utf-8")], files)


def write_json(path: Path, table: Mapping[str, Any], files: Files = FILES) -> None:
    """Replace a JSON file as a whole, see `write_parts`.

    Args:
        path: The file.
        table: What it shall hold.
        files: What writes.

    Raises:
        OSError: The file cannot be written; the old one is untouched.
    """
    write_text(path, json.dumps(table, indent=2) + "\n", files)


@contextlib.contextmanager
def replaced_folder(path: Path, files: Files = FILES) -> Iterator[Path]:
    """Give an empty folder to be filled, and put it in place of `path` if the block ends well.

    Args:
        path: The folder to appear, or to be replaced.
        files: What syncs and moves the folder.

    Yields:
        A folder beside it. When the block raises, it is removed and `path` stays as it was.

    Raises:
        OSError: The folder cannot be written.
    """
    make_folders(path.parent, files)
    filling = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    # The folder of `mkdtemp` is private; a checkpoint is readable like any other file of the run.
    filling.chmod(0o777 & ~_umask())
    old = filling.with_name(f"{filling.name}-old")
    try:
        yield filling
        _sync_tree(filling, files)
        with contextlib.suppress(FileNotFoundError):
            files.replace(path, old)
        files.replace(filling, path)
        files.sync_folder(path.parent)
    finally:
        shutil.rmtree(filling, ignore_errors=True)
        if not path.exists() and old.exists():
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)


def _sync_tree(path: Path, files: Files) -> None:
    """Wait until a folder and all that is in it is on the disk, whoever wrote it."""
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.is_symlink():
            _sync_tree(child, files)
        elif child.is_file():
            descriptor = os.open(child, os.O_RDONLY | os.O_CLOEXEC)
            try:
                files.sync(descriptor)
            finally:
                os.close(descriptor)
    files.sync_folder(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
