"""How the failure of one environment is told in the parent."""

from __future__ import annotations

import signal

from hyperrl.errors import WorkerError


class EnvironmentFailedError(WorkerError):
    """A `WorkerError` of one environment, with what is known of the cause.

    Args:
        sentence: What failed.
        index: The environment's place among its siblings.
        exception: Name of the exception's class in the worker; empty where its process died or hung.
        worker_traceback: The worker's own traceback, or where a crashed or hung worker was; also a note of
            the error, so that Python shows it.
    """

    def __init__(
        self, sentence: str, index: int = 0, exception: str = "", worker_traceback: str = ""
    ) -> None:
        super().__init__(sentence)
        self.index = index
        self.exception = exception
        self.worker_traceback = worker_traceback
        if worker_traceback:
            self.add_note(f"\nIn the worker process of environment {index}:\n{worker_traceback}")


class MissingAttributeError(EnvironmentFailedError, AttributeError):
    """An environment in a worker process does not have the attribute that was asked for."""


def death(code: int | None, starting: bool) -> str:
    """Return how a process ended, to follow the words "its worker process".

    Args:
        code: Its exit code, negative for a signal; None if it still runs.
        starting: Whether it was building its environment.
    """
    if code is None:
        return "closed the connection"
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        how += ", by hand or by the system for want of memory"
    if starting and code == 1:
        how += " (a script that starts workers has to do so below `if __name__ == '__main__':`)"
    return how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
