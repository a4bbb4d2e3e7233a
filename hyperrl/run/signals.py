"""Asked to stop, a run first brings itself into safety.

| signal | meaning | exit status |
|---|---|---|
| SIGINT | Ctrl-C; a second one stops at once, without a checkpoint | 130 |
| SIGTERM | the system, a scheduler or `kill` wants the process to end | 143 |
| SIGUSR1 | the scheduler will take the machine away: put the job back into the queue | 75 |
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from hyperrl.errors import RunStoppedError

REQUEUE = 75
"""Exit status after SIGUSR1 (`EX_TEMPFAIL` of sysexits.h): the same job may be started again."""

EXIT_STATUS = {
    name: status
    for name, status in (("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", REQUEUE))
    if hasattr(signal, name)
}


class StopRequestedError(Exception):
    """A signal came in the middle of something that can be given up and done again, such as an evaluation."""


class StopSignals:
    """Remembers, inside its `with` block, that a signal asked the run to stop.

    Handlers can only be installed by the main thread; in another one nothing is caught, and Ctrl-C is
    Python's own.

    Attributes:
        received: Name of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for name in EXIT_STATUS:
                number = signal.Signals[name]
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back the handlers that were there."""
        for number, handler in self._previous.items():
            # None stands for a handler that was not installed from Python, and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def check(self) -> None:
        """Give up what is under way if a signal has come.

        Raises:
            StopRequestedError: One has.
        """
        if self.received is not None:
            raise StopRequestedError

    def error(self, steps: int, saved_steps: int, problem: str | None) -> RunStoppedError:
        """Return the error that ends a run after a signal.

        Args:
            steps: Environment steps at which the run was stopped.
            saved_steps: Environment steps of the last checkpoint, -1 for none.
            problem: Why none could be written now.
        """
        name = self.received or "SIGINT"
        kept = "with a checkpoint"
        if problem is not None:
            last = f"the last one is that of {saved_steps:,} steps" if saved_steps >= 0 else "there is none"
            kept = f"without a checkpoint ({problem}): {last}"
        stopped = RunStoppedError(f"stopped by {name} after {steps:,} steps, {kept}")
        stopped.exit_status = EXIT_STATUS[name]
        return stopped

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.received is not None:
            if name == "SIGINT":
                raise KeyboardInterrupt
            return
        self.received = name
        note = "; press Ctrl-C again to stop at once" if name == "SIGINT" else ""
        # Not `print`: the signal may have come in the middle of another one.
        with contextlib.suppress(OSError):  # Whoever read it may be gone.
            os.write(2, f"\nhyperrl: {name}: saving a checkpoint, then stopping{note}\n".encode())
