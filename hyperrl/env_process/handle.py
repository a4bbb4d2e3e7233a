"""The parent's handle on one worker process: ask, wait with a limit, and learn how it failed."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.reduction import ForkingPickler
from typing import Any

from hyperrl.env_process import child, guards
from hyperrl.env_process.channel import Channel
from hyperrl.env_process.failures import EnvironmentFailedError, MissingAttributeError, death
from hyperrl.env_process.task import make_task
from hyperrl.errors import WorkerError

BEAT = 0.1
"""Seconds between two looks at whether a silent worker still lives and is within its time."""
_REAPING = (
    5.0  # Seconds for the kernel to end a process that was killed; more only if it is stuck in a driver.
)
_LAST_WORDS = 0.5  # Seconds for a hung worker to write its stack.


class Worker:
    """One environment in a process of its own.

    It has `send` and `recv` like a connection of `multiprocessing`, so that code written for one works with
    it; but neither blocks for ever, and a failure of the worker is an `EnvironmentFailedError`.

    Args:
        context: A context of `multiprocessing`.
        index: The environment's place among its siblings.
        functions: The functions "env_fn", and "capture" and "restore" or None, see `task.Task`.
        start_timeout: Seconds in which the environment has to be built.
        timeout: Seconds in which anything else has to be answered.

    Raises:
        WorkerError: The process could not be started.
    """

    def __init__(
        self,
        context: BaseContext,
        index: int,
        functions: Mapping[str, Callable[..., Any] | None],
        start_timeout: float,
        timeout: float,
    ) -> None:
        self.index = index
        self._timeout = timeout
        self._serial = 0
        self._call: tuple[str, Any] = ("start", None)
        self._deadline = 0.0
        self._final: tuple[str, str] | None = None
        self._closed = False
        self._stopped = False
        task = make_task(index, str(context.get_start_method()), functions)
        self.channel, far = Channel.pair()
        self._stacks, stacks = Pipe(duplex=False)
        # Whatever still runs when the interpreter exits is then ended by multiprocessing itself.
        self.process = context.Process(  # type: ignore[attr-defined]
            target=child.run, args=(task, far, stacks), name=f"environment-{index}", daemon=True
        )
        try:
            with guards.signals_held(task.start_method):
                self.process.start()
        except Exception as error:
            self.channel.end()
            self._stacks.close()
            raise WorkerError(
                f"the worker process of environment {index} cannot be started: {error}"
            ) from error
        finally:
            # A copy that stays open here, or in a forked sibling, would hide the worker's death.
            far.close()
            stacks.close()
        self.send(("start", None), start_timeout)

    def send(self, request: tuple[str, Any], timeout: float | None = None) -> None:
        """Ask for something; `recv` returns the answer. What was asked before is forgotten.

        Args:
            request: A command and its argument.
            timeout: Seconds until the answer has to be there; None takes the worker's.

        Raises:
            WorkerError: The worker was closed, or the argument cannot be sent. That it died shows in `recv`.
        """
        if self._closed:
            raise WorkerError(f"environment {self.index} is closed and cannot be asked for {request[0]}")
        if self._final is not None:
            return
        try:
            message = ForkingPickler.dumps(request)
        except Exception as error:
            call = child.call_name(*request)
            raise WorkerError(
                f"what {call} takes along cannot be sent to environment {self.index}: {error}"
            ) from error
        self._serial += 1
        self._call = request
        self._deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        try:
            self.channel.send(self._serial, message, self._deadline)
        except TimeoutError:
            self._finish_hung()
        except OSError:
            pass  # It died. There may be an answer of its left to read, and `recv` says how it died.
        except BaseException:
            self._finish_interrupted("a request to it")
            raise

    def recv(self) -> Any:
        """Return the answer to the last request.

        Raises:
            EnvironmentFailedError: The environment failed, its process died, or it did not answer in time; in
                the latter cases the process is ended and every later call fails in the same way.
        """
        while (answer := self.poll(self.channel.readable(BEAT))) is None:
            pass
        return answer[0]

    def poll(self, readable: bool) -> tuple[Any] | None:
        """Return the answer to the last request in a tuple if it is there, else None.

        Args:
            readable: Whether the channel was found to be readable.

        Raises:
            EnvironmentFailedError: As in `recv`.
        """
        if self._final is None:
            answer = self._read() if readable else None
            if not readable:
                self._look_after()
            if answer is not None or self._final is None:
                return answer
        sentence, stack = self._final
        raise EnvironmentFailedError(sentence, self.index, worker_traceback=stack)

    def hang_up(self) -> None:
        """Tell the worker to close its environment and end, without waiting for it."""
        self.channel.end()
        self._closed = True

    def stop(self, deadline: float) -> None:
        """End the process after `hang_up`, by force if it has not ended by itself in time.

        Args:
            deadline: How long it may take, on the clock of `time.monotonic`.
        """
        if self._stopped:
            return
        self._stopped = True
        self.process.join(max(deadline - time.monotonic(), 0.0))
        self._kill()
        self._stacks.close()
        if self.process.exitcode is not None:
            self.process.close()

    def _read(self) -> tuple[Any] | None:
        """Take one message from the channel; None if it is none to wait for, or the worker is finished."""
        try:
            # An answer that has begun to arrive may take a little more, it can be large.
            serial, message = self.channel.receive(max(self._deadline, time.monotonic() + 1.0))
        except TimeoutError:
            self._finish_hung()
            return None
        except (EOFError, OSError):
            self._finish_dead()
            return None
        except BaseException:
            self._finish_interrupted("its answer")
            raise
        if serial != self._serial:
            return None
        return (self._understood(message),)

    def _understood(self, message: bytearray) -> Any:
        call = child.call_name(*self._call)
        try:
            answer = pickle.loads(message)
        except Exception as error:
            raise EnvironmentFailedError(
                f"the answer of environment {self.index} to {call} cannot be read here: {error}",
                self.index,
                type(error).__name__,
            ) from error
        if not isinstance(answer, child.Failure):
            return answer
        missing = answer.exception == "AttributeError" and self._call[0] == "get_attr"
        kind = MissingAttributeError if missing else EnvironmentFailedError
        raise kind(answer.sentence, self.index, answer.exception, answer.traceback)

    def _look_after(self) -> None:
        """Find out whether a silent worker is dead or hangs."""
        dead = self.process.exitcode is not None
        late = time.monotonic() > self._deadline
        # An answer may have come since; it counts, also where the parent was too busy to read it in time.
        if (dead or late) and not self.channel.readable(0):
            if dead:
                self._finish_dead()
            else:
                self._finish_hung()

    def _finish_dead(self) -> None:
        # The end of the connection is seen a little before the end of the process.
        self.process.join(1.0)
        code = self.process.exitcode
        self._kill()
        call, how = child.call_name(*self._call), death(code, self._call[0] == "start")
        self._final = (
            f"environment {self.index} died in {call}: its worker process {how}",
            self._stack(0.0),
        )

    def _finish_hung(self) -> None:
        stack = ""
        pid = self.process.pid
        if guards.STACK_SIGNAL is not None and pid is not None and self.process.exitcode is None:
            self._stack(0.0)  # Drop what was written on somebody else's signal.
            os.kill(pid, guards.STACK_SIGNAL)
            stack = self._stack(_LAST_WORDS)
        self._kill()
        call = child.call_name(*self._call)
        self._final = (
            f"environment {self.index} did not answer in time in {call}: its worker process was killed",
            stack,
        )

    def _finish_interrupted(self, message: str) -> None:
        # Within a message: where the next one begins is not known any more.
        self._final = (f"environment {self.index} was given up as {message} was interrupted", "")
        self._kill()

    def _stack(self, seconds: float) -> str:
        """Return what the worker wrote about where it is; wait for the first of it."""
        pieces = []
        while wait([self._stacks], seconds) and (piece := os.read(self._stacks.fileno(), 65536)):
            pieces.append(piece)
            seconds = 0.02
        return b"".join(pieces).decode(errors="replace")

    def _kill(self) -> None:
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join(_REAPING)


def end_all(workers: Sequence[Worker], grace: float) -> None:
    """Close environments and end their processes; those that do not end by themselves are killed.

    Args:
        workers: The handles; of no use any more.
        grace: Seconds that all of them together have to close their environments.
    """
    for worker in workers:
        worker.hang_up()
    deadline = time.monotonic() + grace
    for worker in workers:
        worker.stop(deadline)
