"""What a worker process does about signals, about the death of its parent, and to tell where it hangs."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from types import FrameType

_PR_SET_PDEATHSIG = 1
# A terminal, a batch system or a service manager sends these to every process of a run, and the parent acts.
_LEFT_TO_THE_PARENT = ("SIGINT", "SIGTERM", "SIGUSR2")
STACK_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""What makes a worker write down where it is, or None where the system has no such signal."""
_HELD = [getattr(signal, name) for name in (*_LEFT_TO_THE_PARENT, "SIGUSR1") if hasattr(signal, name)]


def settle_signals() -> None:
    """Give up every signal handler of the parent, and outlive the signals on which the parent acts.

    They get a handler that does nothing: an ignored signal would stay ignored in the programs that an
    environment starts, and those could not be ended any more.
    """
    for name in _LEFT_TO_THE_PARENT:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _leave_it)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler) and handler is not _leave_it:
            signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


@contextlib.contextmanager
def signals_held(start_method: str) -> Iterator[None]:
    """Hold back, in this thread and in what it starts, the signals on which a parent acts.

    A terminal and a batch system signal every process of a run. A worker that is still importing would die
    of it, and so would a fork server, with all that came from it. This process gets them afterwards.

    Args:
        start_method: How the worker is about to be started.
    """
    if start_method != "fork":
        # It lets SIGINT and SIGTERM through when it starts its own process.
        resource_tracker.ensure_running()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def release_signals() -> None:
    """Let the signals through to a worker that is ready for them, see `signals_held`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def write_stacks(file: int) -> None:
    """Write this process's Python stack to a file when it crashes, and when the parent asks for it.

    Args:
        file: A file descriptor, which is made to never block.
    """
    os.set_blocking(file, False)
    faulthandler.enable(file=file, all_threads=False)
    if STACK_SIGNAL is not None:
        faulthandler.register(STACK_SIGNAL, file=file, all_threads=False)


def die_with_parent(parent: int, start_method: str, by_kernel: bool) -> None:
    """End this process as soon as its parent ends, whatever the environment is doing then.

    A thread waits for the end of the parent. Under Linux the kernel sends SIGKILL as well, which works
    without help: an environment may hang in compiled code that lets no other thread run.

    Args:
        parent: The parent's process id. Under "forkserver" it is not the process that forked this one.
        start_method: How this process was started.
        by_kernel: Whether to ask the kernel. It acts when the thread that started this process ends, so only
            workers of a main thread may ask.
    """
    if by_kernel and sys.platform == "linux":
        # Under "forkserver" this is about the server. It ends when the last process that could use it ends,
        # and must not wait for this one.
        if start_method == "forkserver":
            _leave_the_fork_server()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    watched: list[int] = []
    process = multiprocessing.parent_process()
    if process is not None:
        watched.append(process.sentinel)
    if hasattr(os, "pidfd_open"):
        # Unlike a pipe, no other process of the parent can keep it open.
        try:
            watched.append(os.pidfd_open(parent))
        except ProcessLookupError:
            os._exit(1)
        except OSError:
            pass  # An older kernel; the sentinel is left.
    threading.Thread(target=_end_with, args=(watched,), name="parent-watch", daemon=True).start()


def _end_with(watched: list[int]) -> None:
    wait(watched)
    os._exit(1)


def _leave_the_fork_server() -> None:
    server = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if isinstance(alive, int):
        os.close(alive)
        server._forkserver_alive_fd = None  # type: ignore[union-attr]


def _leave_it(number: int, frame: FrameType | None) -> None:
    """Do nothing on a signal."""
