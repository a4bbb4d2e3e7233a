"""Messages between a process and its worker, none of which can block for ever."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
import weakref

_HEADER = struct.Struct("!QQ")  # The serial number of the request, and the size of what follows in bytes.


class Channel:
    """One end of a pair of connected sockets, over which numbered messages go.

    An answer carries the number of its request, so that an answer nobody waited for is never taken for the
    answer to a later request.

    Args:
        end: A connected socket of the stream kind, owned from now on. Deadlines are kept only where it does
            not block.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return this process's channel to a worker and the socket that the worker gets."""
        near, far = socket.socketpair()
        near.setblocking(False)
        channel = cls(near)
        _NEAR_ENDS.add(channel)
        return channel, far

    def fileno(self) -> int:
        """Return the file descriptor, for `select.poll`."""
        return self._socket.fileno()

    def readable(self, seconds: float) -> bool:
        """Wait until something can be read, the other end's closing included.

        Args:
            seconds: How long at most.
        """
        return self._ready(select.POLLIN, seconds)

    def send(self, serial: int, message: bytes | memoryview, deadline: float | None = None) -> None:
        """Send one message as a whole.

        Args:
            serial: Number of the request.
            message: What to send.
            deadline: When to give up, on the clock of `time.monotonic`; None waits without limit.

        Raises:
            TimeoutError: The deadline has passed; the channel cannot be used any more.
            OSError: The other end is closed.
        """
        rest = memoryview(b"".join((_HEADER.pack(serial, len(message)), message)))
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                self._await(select.POLLOUT, deadline)

    def receive(self, deadline: float | None = None) -> tuple[int, bytearray]:
        """Wait for one message.

        Args:
            deadline: When to give up, on the clock of `time.monotonic`; None waits without limit.

        Returns:
            The number of the request and the message.

        Raises:
            TimeoutError: The deadline has passed; the channel cannot be used any more.
            EOFError: The other end is closed.
            OSError: The other end was closed before it had read everything.
        """
        serial, size = _HEADER.unpack(self._read(_HEADER.size, deadline))
        return serial, self._read(size, deadline)

    def end(self) -> None:
        """Close the connection itself, even where another process has inherited this end."""
        with contextlib.suppress(OSError):  # It may be closed already, by either side.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def forget(self) -> None:
        """Close this process's copy of the end; others that have one can go on using it."""
        self._socket.close()

    def _read(self, size: int, deadline: float | None) -> bytearray:
        message = bytearray(size)
        rest = memoryview(message)
        while rest:
            try:
                count = self._socket.recv_into(rest)
            except BlockingIOError:
                self._await(select.POLLIN, deadline)
                continue
            if not count:
                raise EOFError("the other end is closed")
            rest = rest[count:]
        return message

    def _await(self, event: int, deadline: float | None) -> None:
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not self._ready(event, left):
            raise TimeoutError("the other end does not read or write")

    def _ready(self, event: int, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self._socket, event)
        return bool(poll.poll(None if seconds is None else seconds * 1000.0))


_NEAR_ENDS: weakref.WeakSet[Channel] = weakref.WeakSet()


def forget_inherited() -> None:
    """Close, in a forked worker, the ends that belong to its parent.

    As long as a sibling holds a copy of one, a worker could not see that its parent's end is closed.
    """
    for channel in list(_NEAR_ENDS):
        channel.forget()
    _NEAR_ENDS.clear()
