"""How many CPU threads a run computes with: one, unless it is told otherwise."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hyperrl.errors import ConfigError
from hyperrl.run.manifest import available_cores

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def check_threads(threads: int) -> None:
    """Refuse more threads than there are cores, which would only wait for each other.

    Args:
        threads: The number of threads.

    Raises:
        ConfigError: There are fewer cores.
    """
    cores = available_cores()
    if threads > cores:
        raise ConfigError(
            f"threads = {threads} is more than the {cores} CPU cores that this process may use: for small "
            "networks threads = 1 is the fastest"
        )


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with a number of threads, and put back what the process had at the end.

    A warning says so where more than one is asked for, and where something else asks for another number: the
    variables that numerical libraries read, or a call of ``torch.set_num_threads``.

    Args:
        threads: The number of threads.
    """
    before = torch.get_num_threads()
    others = _asked_otherwise(threads, before)
    if threads > 1:
        warnings.warn(
            f"the run computes with {threads} threads: for small networks one is the fastest, and leaves the "
            "other cores to other runs",
            stacklevel=4,
        )
    elif others:
        warnings.warn(
            f"{others} is not used: the run computes with one thread, the fastest for small networks "
            "(threads = N takes N)",
            stacklevel=4,
        )
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _asked_otherwise(threads: int, before: int) -> str | None:
    """Say what asks for another number of threads, or None."""
    for name in _VARIABLES:
        value = os.environ.get(name)
        if value and value != str(threads):
            return f"{name}={value}"
    # By itself torch takes as many as there are cores, or half of them where two share one.
    if before not in (threads, available_cores(), available_cores() // 2, os.cpu_count()):
        return f"torch.set_num_threads({before})"
    return None
