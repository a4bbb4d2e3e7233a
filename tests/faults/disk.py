"""Disks that fail or kill at a chosen write: doubles of `hyperrl.run.files.Files`."""

from __future__ import annotations

import os
import signal

from hyperrl.run.files import Files

OPERATIONS = tuple(name for name in vars(Files) if not name.startswith("_"))


class UnsyncedFiles(Files):
    """Real writes that do not wait for the disk: a process that dies loses nothing of what the system has."""

    def sync(self, descriptor):
        pass

    def sync_folder(self, path):
        pass


class WatchedFiles(UnsyncedFiles):
    """Such writes, each of which first goes through `meet`.

    Attributes:
        log: The names of the operations so far.
    """

    def __init__(self):
        self.log = []

    def meet(self, operation, arguments):
        """Hook of the doubles below, called before an operation that `log` already has."""


def _watched(operation):
    def method(self, *arguments):
        self.log.append(operation)
        self.meet(operation, arguments)
        return getattr(UnsyncedFiles, operation)(self, *arguments)

    return method


for _operation in OPERATIONS:
    setattr(WatchedFiles, _operation, _watched(_operation))


def write_half(operation, arguments):
    """Leave a torn file behind where the operation is a write, as a real disk does."""
    if operation == "write":
        descriptor, data = arguments
        os.write(descriptor, memoryview(data)[: len(data) // 2])


class FailingFiles(WatchedFiles):
    """A disk that refuses one operation.

    Args:
        code: The number of the error, for example `errno.ENOSPC`.
        operation: Which operation is refused.
        occurrence: Which one of them, from 0 on.
        lasting: Whether all later ones of that kind are refused too.
    """

    def __init__(self, code, operation, occurrence=0, lasting=False):
        super().__init__()
        self.code, self.operation, self.occurrence, self.lasting = code, operation, occurrence, lasting
        self.failed = 0

    def meet(self, operation, arguments):
        count = self.log.count(operation) - 1
        if operation != self.operation or count < self.occurrence:
            return
        if count == self.occurrence or self.lasting:
            self.failed += 1
            write_half(operation, arguments)
            raise OSError(self.code, os.strerror(self.code))


class KillingFiles(WatchedFiles):
    """A process that dies before its n-th operation, from 0 on; a write is done by half."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def meet(self, operation, arguments):
        if len(self.log) - 1 == self.number:
            write_half(operation, arguments)
            os.kill(os.getpid(), signal.SIGKILL)
