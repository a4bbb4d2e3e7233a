"""Choosing among policies by what they earn and what they cost. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hyperrl.errors import ConfigError
from hyperrl.evaluation.statistics import Interval
from hyperrl.exporters.budget import Budget
from hyperrl.ranges import Range, above, whole


@dataclass(frozen=True)
class Candidate:
    """One architecture and what it earned.

    Attributes:
        architecture: The widths of the hidden layers.
        budget: What it costs.
        episodes: How many episodes the returns are of.
        returns: Mean return with its 95 % bootstrap interval.
        is_finalist: Whether the episodes are fresh ones that were not used to pick it.
    """

    architecture: tuple[int, ...]
    budget: Budget
    episodes: int
    returns: Interval
    is_finalist: bool


_RANGES = {
    "max_params": whole(1),
    "max_flash": whole(1),
    "max_macs": whole(1),
    "deadline_us": above(0),
    "min_return": Range(-math.inf),
}


@dataclass(frozen=True)
class Limits:
    """What a policy may cost and has to earn; None for no limit.

    Attributes:
        max_params: Most weights and biases.
        max_flash: Most bytes of flash.
        max_macs: Most multiply-accumulates for one action.
        deadline_us: Most microseconds for one action on `mcu`, by the longest estimate.
        mcu: Name of a microcontroller.
        min_return: Least mean return, the lower end of the interval counts.

    Raises:
        ConfigError: A limit is out of range, or there is a deadline without a microcontroller.
    """

    max_params: int | None = None
    max_flash: int | None = None
    max_macs: int | None = None
    deadline_us: float | None = None
    mcu: str | None = None
    min_return: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, allowed in _RANGES.items():
            if getattr(self, name) is not None:
                allowed.check(name, getattr(self, name))
        if self.deadline_us is not None and self.mcu is None:
            raise ConfigError(
                "a deadline needs the microcontroller that has to keep it, for example STM32F405"
            )

    def allow(self, candidate: Candidate) -> bool:
        """Return whether a policy costs no more than it may.

        Args:
            candidate: The policy.
        """
        budget = candidate.budget
        pairs = [
            (self.max_params, budget.parameters),
            (self.max_flash, budget.flash_bytes),
            (self.max_macs, budget.macs),
        ]
        if self.deadline_us is not None and self.mcu is not None:
            pairs.append((self.deadline_us, budget.microseconds(self.mcu)[1]))  # type: ignore[arg-type]
        return all(most is None or cost <= most for most, cost in pairs)


def size_classes(parameters: Sequence[int]) -> list[int]:
    """Return the class of each size: one has policies of up to twice as many parameters as the one before.

    Args:
        parameters: Numbers of parameters, at least 1.
    """
    return [int(number).bit_length() for number in parameters]


def better_half(returns: Sequence[float], classes: Sequence[int], keep: int = 1) -> list[int]:
    """Return the places of the better half of each class, in their order.

    Halving within classes of size keeps policies of every size in the race, not the largest alone.

    Args:
        returns: Mean returns.
        classes: The class of each.
        keep: How many of a class stay at least.
    """
    kept: list[int] = []
    for one in sorted(set(classes)):
        places = [place for place, own in enumerate(classes) if own == one]
        places.sort(key=lambda place: (-returns[place], place))
        kept += places[: max(keep, (len(places) + 1) // 2)]
    return sorted(kept)


def overlooked(candidates: Sequence[Candidate], limits: Limits, finalists: int) -> list[int]:
    """Return the places of policies that would be finalists if those beyond the limits were not there.

    In a class of size all finalists can be too large for limits that others of the class keep.

    Args:
        candidates: All policies.
        limits: What they may cost.
        finalists: How many of a class there are to be.
    """
    places = [place for place, one in enumerate(candidates) if limits.allow(one)]
    found: list[int] = []
    sizes = size_classes([one.budget.parameters for one in candidates])
    for size in {sizes[place] for place in places}:
        own = [place for place in places if sizes[place] == size]
        rest = [place for place in own if not candidates[place].is_finalist]
        rest.sort(key=lambda place: (-candidates[place].returns.estimate, place))
        found += rest[: max(0, finalists - (len(own) - len(rest)))]
    return sorted(found)


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the policies to which none is at least as good and smaller, from the smallest to the largest.

    Args:
        candidates: Policies.
    """
    front: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: (c.budget.parameters, -c.returns.estimate)):
        if not front or one.returns.estimate > front[-1].returns.estimate:
            front.append(one)
    return front


def choose(candidates: Sequence[Candidate], limits: Limits) -> Candidate:
    """Return the best policy within limits; with a least return, the smallest that reaches it.

    Args:
        candidates: Policies.
        limits: What they may cost and have to earn.

    Raises:
        ConfigError: There is none; the sentence says how near one comes.
    """
    allowed = [one for one in candidates if limits.allow(one)]
    if not allowed:
        smallest = min(candidates, key=lambda one: one.budget.parameters)
        raise ConfigError(
            f"no architecture is within these limits: the smallest, {list(smallest.architecture)}, has "
            f"{smallest.budget.parameters:,} parameters, {smallest.budget.macs:,} multiply-accumulates and "
            f"{smallest.budget.flash_bytes:,} bytes of flash"
        )
    if limits.min_return is None:
        return max(allowed, key=lambda one: (one.returns.estimate, -one.budget.parameters))
    enough = [one for one in allowed if one.returns.low >= limits.min_return]
    if not enough:
        best = max(allowed, key=lambda one: one.returns.low)
        raise ConfigError(
            f"no architecture within these limits has an interval above a return of {limits.min_return:g}: "
            f"the best, {list(best.architecture)}, has {best.returns.estimate:.1f} with a 95 % interval from "
            f"{best.returns.low:.1f}"
        )
    return min(enough, key=lambda one: (one.budget.parameters, -one.returns.estimate))
