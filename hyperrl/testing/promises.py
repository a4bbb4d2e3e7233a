"""What the conformance checks of single parts share: how they are run, and how a broken promise is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

Case = TypeVar("Case")


class BrokenPromiseError(Exception):
    """What was wrong, before the names of the part and of the check are put in front."""


def require(holds: bool, otherwise: str) -> None:
    """Refuse what does not hold.

    Args:
        holds: Whether it does.
        otherwise: What is wrong otherwise.

    Raises:
        BrokenPromiseError: It does not hold.
    """
    if not holds:
        raise BrokenPromiseError(otherwise)


def run_checks(
    label: str, checks: Mapping[str, Callable[[Case], None]], case: Case, error_class: type[Exception]
) -> tuple[str, ...]:
    """Run one check after the other, leaving torch's random numbers alone.

    Args:
        label: What is checked, for messages.
        checks: The checks by name.
        case: What each of them gets.
        error_class: What is raised.

    Returns:
        The names of the checks.

    Raises:
        Exception: Of that class, for the first promise that is broken.
    """
    with torch.random.fork_rng(devices=[]):
        for name, check in checks.items():
            try:
                check(case)
            except BrokenPromiseError as broken:
                raise error_class(f"{label}, {name}: {broken}") from None
            except Exception as error:
                raise error_class(f"{label}, {name}: {type(error).__name__}: {error}") from error
    return tuple(checks)
