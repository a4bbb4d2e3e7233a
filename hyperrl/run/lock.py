"""One process at a time may train in a run folder."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from hyperrl.errors import RunFolderError

# Those who only look at the lock hold it together, for no more than microseconds.
_WAIT_SECONDS = 0.2


class RunLock:
    """The lock of a run folder; the system lets it go when the process that holds it ends, however it ends.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = path / "owner.json"
        self._file = path / "run.lock"
        self._lock = FileLock(self._file, timeout=_WAIT_SECONDS, poll_interval=0.02, thread_local=False)

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises:
            RunFolderError: Another process holds it, or the folder cannot be written.
        """
        try:
            self._lock.acquire()
            self._owner.write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        except Timeout as error:
            raise RunFolderError(
                f"{self._path} is in use{self._by_whom()}: wait until that run ends, or stop it"
            ) from error
        except OSError as error:
            self._lock.release()
            raise RunFolderError(
                f"the run folder {self._path} cannot be written: {error.strerror or error}"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self._owner.unlink(missing_ok=True)
        self._lock.release()

    def holder(self) -> str | None:
        """Return who holds the lock, for example "process 12 on host"; None for nobody. Nothing is written.

        Raises:
            RunFolderError: The system does not tell.
        """
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunFolderError(f"{self._file} cannot be read: {error.strerror or error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._by_whom().removeprefix(" by ") or "another process"
        except OSError as error:
            raise RunFolderError(f"{self._file} cannot be locked: {error.strerror or error}") from error
        finally:
            os.close(descriptor)
        return None

    def _by_whom(self) -> str:
        try:
            owner = json.loads(self._owner.read_text())
            return f" by process {owner['pid']} on {owner['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return ""
