"""Starting the process of one run on this machine, and ending it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from hyperrl.config import RunConfig
from hyperrl.errors import RunFolderError
from hyperrl.sweep.records import LOG_FILE, log_beside

# What the numerical libraries read when they are loaded: more threads than cores only hinder each other.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PROGRAM = ("-m", "hyperrl.sweep.child")


class RunProcess:
    """A process that does one run and writes what it says into a log.

    It is in a session of its own, so that Ctrl-C in a terminal reaches the sweep alone, which passes it on;
    and it ends when the thread that started it does, however that ends.

    Args:
        config: The run's configuration, with its folder as `out`.

    Raises:
        RunFolderError: The log cannot be written, or no process can be started.
    """

    def __init__(self, config: RunConfig) -> None:
        path = Path(str(config.out))
        try:
            self._process = _start(path)
            assert self._process.stdin is not None
            with self._process.stdin as stdin:
                stdin.write(config.to_toml().encode())
        except BrokenPipeError:
            pass  # It has ended already; its log says why.
        except OSError as error:
            raise RunFolderError(f"the run {path} cannot be started: {error.strerror or error}") from error

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative for the signal that ended it, or None while it works."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to save a checkpoint and to end."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        if self.poll() is None:
            self._process.kill()
            self._process.wait()


def _start(path: Path) -> subprocess.Popen[bytes]:
    log = log_beside(path)
    if (path / LOG_FILE).exists() and not log.exists():
        # The log of a run that continues goes on in the same file.
        (path / LOG_FILE).replace(log)
    # The modules that are found here are found there, for example an environment beside a script.
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONPATH": places}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", *_PROGRAM, str(os.getpid()), str(path)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
