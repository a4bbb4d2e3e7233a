"""Opening files that anybody may have tampered with."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from hyperrl.errors import CheckpointCorruptError


class UnreadableError(CheckpointCorruptError):
    """The system refuses to read a file now; it may be as good as ever."""


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open an ordinary file for reading, and nothing else: no link, folder, pipe or device.

    Args:
        path: The file.

    Yields:
        The open file.

    Raises:
        CheckpointCorruptError: It is missing, of another kind, or cannot be read.
    """
    try:
        # Opening a pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", closefd=True) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CheckpointCorruptError(f"{path} is damaged: it is not an ordinary file")
            yield file
    except CheckpointCorruptError:
        raise
    except FileNotFoundError as error:
        raise CheckpointCorruptError(f"{path} is missing") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CheckpointCorruptError(f"{path} is damaged: it is a symbolic link") from error
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}") from error
