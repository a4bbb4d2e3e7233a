"""Work in a forked child, so that no crash, signal, limit or thread of it reaches the benchmark."""

from __future__ import annotations

import json
import os
import select
import signal
import traceback
from collections.abc import Callable
from typing import Any


class ChildDiedError(Exception):
    """A child ended without an answer, or was killed because it took too long."""


def in_child(work: Callable[[], Any], seconds: float | None = None) -> Any:
    """Do some work in a forked child of this process.

    Args:
        work: What to do; it returns JSON values.
        seconds: How long it may take; None for any time.

    Returns:
        What it returned.

    Raises:
        ChildDiedError: The child was killed, crashed, or took longer.
        RuntimeError: The work raised an exception, whose traceback is the message.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _answer(work, writer)
    os.close(writer)
    try:
        answer = _read(reader, pid, seconds)
    finally:
        os.close(reader)
        status = wait_for(pid)
    if not answer:
        raise ChildDiedError(f"a child ended without an answer, with status {status}")
    kind, value = json.loads(answer)
    if kind == "error":
        raise RuntimeError(f"the work in a child failed:\n{value}")
    return value


def wait_for(pid: int) -> int:
    """Wait for the end of a child and return its exit status, negative for a signal.

    Args:
        pid: Its process id.
    """
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _answer(work: Callable[[], Any], writer: int) -> None:
    """Do the work, write what came of it and end the process, without any clean-up of the parent's."""
    try:
        try:
            answer = ["value", work()]
        except BaseException:
            answer = ["error", traceback.format_exc()]
        rest = memoryview(json.dumps(answer).encode())
        while rest:
            rest = rest[os.write(writer, rest) :]
    finally:
        os._exit(0)


def _read(reader: int, pid: int, seconds: float | None) -> bytes:
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], seconds)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            return b""
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
