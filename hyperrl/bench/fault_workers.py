"""Faults of environments in processes of their own."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from hyperrl.bench.fault_cases import Lost, Scale
from hyperrl.bench.fault_envs import MESSAGE, FaultyEnv
from hyperrl.bench.fault_libraries import Library

PATIENCE = 3.0
"""Seconds after which a parent that still waits counts as hanging."""

_STEP_TIMEOUT = 1.0
_CALLS = (("reset", 2), ("step", 3))
_ENVS = 2


def raises(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Let an environment raise in its worker.

    "message": the parent's error does not have the environment's own message, or the parent hangs.
    """
    for found in _parents(library, "raise", scale):
        yield () if found is not None and MESSAGE in found else {"message"}


def deaths(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Let a worker be killed by SIGKILL.

    "unnamed": the parent's error says neither which environment it was nor by what signal, or the parent
    hangs.
    """
    for index, found in enumerate(_parents(library, "kill", scale)):
        named = found is not None and (f"environment {index % _ENVS}" in found or "SIGKILL" in found)
        yield () if named else {"unnamed"}


def hangs(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Let an environment hang in its worker.

    "hangs": the parent still waits after `PATIENCE` seconds.
    """
    for found in _parents(library, "hang", scale):
        yield {"hangs"} if found is None else ()


def _parents(library: Library, fault: str, scale: Scale) -> Iterator[str | None]:
    """Yield what the parent's error says, in each call, for a fault in each environment; None if it hangs."""
    # The server of the workers loads what they need once and not for every one of them.
    multiprocessing.set_forkserver_preload([FaultyEnv.__module__, "stable_baselines3.common.env_util"])
    cases = itertools.product(_CALLS, range(_ENVS))
    for (call, at), index in itertools.islice(cases, scale.workers):
        yield _parent(library, fault, call, at, index)


def _parent(library: Library, fault: str, call: str, at: int, index: int) -> str | None:
    env_fns = [functools.partial(FaultyEnv) for _ in range(_ENVS)]
    env_fns[index] = functools.partial(FaultyEnv, fault, call=call, at=at)
    venv: Any = library.workers(env_fns, _STEP_TIMEOUT)
    processes = list(venv.processes)
    try:
        with _alarm(PATIENCE):
            for _ in range(2):
                venv.reset()
            for _ in range(3):
                venv.step(np.zeros((_ENVS, 1), np.float32))
    except _TooLateError:
        return None
    except Exception as error:  # Whatever it is, its words are what counts.
        return _words(error)
    finally:
        for process in processes:
            # A process that was waited for already is closed.
            with contextlib.suppress(ValueError):
                process.kill()
                process.join()
    raise RuntimeError(f"the fault {fault!r} in {call} has not happened")


def _words(error: BaseException | None) -> str:
    """Return what an error and its causes say."""
    words = []
    while error is not None:
        words += [str(error), *getattr(error, "__notes__", ())]
        error = error.__cause__ or error.__context__
    return "\n".join(words)


class _TooLateError(BaseException):
    """The parent has waited for long enough."""


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise in the block when it has taken so many seconds."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooLateError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
