"""Ranges of numeric settings: checked once, described in the same words everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from hyperrl.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may take.

    Attributes:
        low: The smallest number.
        high: The largest number, infinity for no bound.
        whole: Whether only whole numbers are right.
        above_low: Whether `low` itself is excluded.
    """

    low: float
    high: float = math.inf
    whole: bool = False
    above_low: bool = False

    def describe(self) -> str:
        """Return the range in words, for example "a whole number of at least 1"."""
        noun = "a whole number" if self.whole else "a number"
        if math.isinf(self.low):
            return f"{noun} that is finite"
        if self.above_low:
            text = f"{noun} above {self.low:g}"
            return text if math.isinf(self.high) else f"{text} and at most {self.high:.10g}"
        if math.isinf(self.high):
            return f"{noun} of at least {self.low:g}"
        return f"{noun} from {self.low:g} to {self.high:.10g}"

    def check(self, name: str, value: object) -> int | float:
        """Return the value as int or float.

        Args:
            name: The setting's name, for the message.
            value: What was given; a float such as 1e6 is right for a whole number.

        Raises:
            ConfigError: The value is no number, is NaN or infinite, or is out of range.
        """
        wrong = ConfigError(f"{name} must be {self.describe()}, got {value!r}")
        if isinstance(value, bool) or not isinstance(value, Real):
            raise wrong
        number = float(value)
        if not math.isfinite(number) or (self.whole and not number.is_integer()):
            raise wrong
        if number < self.low or number > self.high or (self.above_low and number == self.low):
            raise wrong
        return int(number) if self.whole else number


def whole(low: float, high: float = math.inf) -> Range:
    """Return the range of the whole numbers from `low` to `high`."""
    return Range(low, high, whole=True)


def above(low: float, high: float = math.inf) -> Range:
    """Return the range of the numbers greater than `low`, up to `high`."""
    return Range(low, high, above_low=True)


def between(low: float, high: float = math.inf) -> Range:
    """Return the range of the numbers from `low` to `high`, both included."""
    return Range(low, high)
