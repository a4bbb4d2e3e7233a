"""Messages between a process and its worker, none of which can block for ever."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
import weakref
from multiprocessing.connection import wait

_HEADER = struct.Struct("!QQ")  # The serial number of the request, and the size of what follows in bytes.
_SHORTEST = 0.001  # Seconds; a timeout of zero would mean "do not wait at all" to a socket.


class Channel:
    """One end of a pair of connected sockets, over which numbered messages go.

    An answer carries the number of its request, so that an answer nobody waited for is never taken for the
    answer to a later request.

    Args:
        end: A connected socket of the stream kind, owned from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return this process's channel to a worker and the socket that the worker gets."""
        near, far = socket.socketpair()
        channel = cls(near)
        _NEAR_ENDS.add(channel)
        return channel, far

    @property
    def socket(self) -> socket.socket:
        """The socket, for which `multiprocessing.connection.wait` can wait."""
        return self._socket

    def readable(self, seconds: float) -> bool:
        """Wait until something can be read, the other end's closing included.

        Args:
            seconds: How long at most.
        """
        return bool(wait([self._socket], seconds))

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
        self._limit(deadline)
        self._socket.sendall(_HEADER.pack(serial, len(message)))
        self._socket.sendall(message)

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
            self._limit(deadline)
            count = self._socket.recv_into(rest)
            if not count:
                raise EOFError("the other end is closed")
            rest = rest[count:]
        return message

    def _limit(self, deadline: float | None) -> None:
        left = None if deadline is None else max(deadline - time.monotonic(), _SHORTEST)
        self._socket.settimeout(left)


_NEAR_ENDS: weakref.WeakSet[Channel] = weakref.WeakSet()


def forget_inherited() -> None:
    """Close, in a forked worker, the ends that belong to its parent.

    As long as a sibling holds a copy of one, a worker could not see that its parent's end is closed.
    """
    for channel in list(_NEAR_ENDS):
        channel.forget()
    _NEAR_ENDS.clear()
