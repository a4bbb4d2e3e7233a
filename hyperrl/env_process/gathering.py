"""The answers of several workers, of which the first that fails is known at once."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

from hyperrl.env_process.failures import EnvironmentFailedError
from hyperrl.env_process.handle import BEAT, Worker

Recover = Callable[[int, EnvironmentFailedError], Any]


def gather(workers: Sequence[Worker], recover: Recover | None = None) -> list[Any]:
    """Collect one answer of each worker, whichever comes first.

    Args:
        workers: Those that were asked.
        recover: Takes the index and the error of a worker that failed, and returns what stands for its
            answer; without it the error is raised.

    Raises:
        EnvironmentFailedError: A worker failed, and `recover` did not help.
    """
    answers: list[Any] = [None] * len(workers)
    pending = {worker.channel.fileno(): worker for worker in workers}
    poll = select.poll()
    for file in pending:
        poll.register(file, select.POLLIN)
    while pending:
        readable = poll.poll(BEAT * 1000.0)
        # Only where nobody has anything to say it is worth a look at who is dead or late.
        for file in [file for file, _ in readable] or list(pending):
            worker = pending[file]
            try:
                answer = worker.poll(bool(readable))
            except EnvironmentFailedError as error:
                if recover is None:
                    raise
                answer = (recover(worker.index, error),)
            if answer is not None:
                answers[worker.index] = answer[0]
                del pending[file]
                poll.unregister(file)
    return answers
