"""One number that distinguishes the tasks of a family."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from hyperrl.errors import BoundsError, ContextError, NonFiniteError, unknown_name

LEVELS = ("data", "setconst", "recompile", "reward")
"""What a change needs: a write into the model; `mj_setConst` besides; the compiler; another reward."""

OPERATIONS = ("scale", "set", "add")
"""What a value does to the nominal one of the model: multiplies it, takes its place, is added to it."""

DIGITS = 9
"""Significant digits with which contexts are written, and by which they are told apart."""


@dataclass(frozen=True)
class ContextParam:
    """A parameter of a context, with its range and what it acts upon.

    Attributes:
        name: Its name, a word of letters, digits and underscores.
        low: The least value of all, in training and in tests.
        high: The greatest.
        default: The value of the task as it was published.
        op: One of `OPERATIONS`.
        fields: What it acts upon: arrays of `mujoco.MjModel` such as "body_mass" or "opt.gravity" (levels
            "data" and "setconst"), the name of an edit of the model's specification ("recompile"), or the
            name of a reward ("reward").
        select: Names of the bodies, geoms, joints or actuators that it concerns; all where empty.
        level: One of `LEVELS`.
        log: Whether values are drawn, spaced and normalised by their logarithms.
        train: The range of values in training; the whole range where None.
        choices: The only values that there are; empty for all between `low` and `high`.
        periodic: Whether `low` and `high` are one place, as of an angle: see `hyperrl.context.showing`.
        unit: The unit, "1" for none.
        summary: What it is, in a few words.

    Raises:
        ContextError: A value contradicts another one.
        NonFiniteError: A bound or value is not finite.
        UnknownNameError: The level or the operation is unknown.
    """

    name: str
    low: float
    high: float
    default: float = 1.0
    op: str = "scale"
    fields: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    level: str = "data"
    log: bool = False
    train: tuple[float, float] | None = None
    choices: tuple[float, ...] = ()
    periodic: bool = False
    unit: str = "1"
    summary: str = ""

    def __post_init__(self) -> None:
        """Refuse what makes no parameter; numbers become floats, lists tuples."""
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z]\w*", self.name):
            raise ContextError(f"the name of a context parameter must be one word, got {self.name!r}")
        for kind, value, valid in (("level", self.level, LEVELS), ("operation", self.op, OPERATIONS)):
            if value not in valid:
                raise unknown_name(f"{kind} of a context parameter", str(value), valid)
        for field in ("low", "high", "default"):
            object.__setattr__(self, field, _number(f"{field} of {self.name}", getattr(self, field)))
        for field in ("fields", "select"):
            object.__setattr__(self, field, _words(f"{field} of {self.name}", getattr(self, field)))
        choices = _items(f"the choices of {self.name}", self.choices)
        object.__setattr__(
            self, "choices", tuple(_number(f"a choice of {self.name}", value) for value in choices)
        )
        if self.train is not None:
            what = f"the training range of {self.name}"
            bounds = _items(what, self.train)
            if len(bounds) != 2:
                raise ContextError(f"{what} must be two numbers, got {self.train!r}")
            object.__setattr__(self, "train", tuple(self._exact(_number(what, bound)) for bound in bounds))
        self._check_order()

    @property
    def train_low(self) -> float:
        """The least value in training."""
        return self.low if self.train is None else self.train[0]

    @property
    def train_high(self) -> float:
        """The greatest value in training."""
        return self.high if self.train is None else self.train[1]

    def check(self, value: object) -> float:
        """Return a value as a float.

        A bound or a choice may be given as it is written, with `DIGITS` digits.

        Args:
            value: What was given.

        Raises:
            ContextError: It is no number, or none of the choices.
            NonFiniteError: It is NaN or infinite.
            BoundsError: It is out of range.
        """
        number = self._exact(_number(f"the context {self.name}", value))
        if not self.low <= number <= self.high:
            raise BoundsError(
                f"the context {self.name} must be from {self.low:g} to {self.high:g}, got {number:g}"
            )
        if self.choices and number not in self.choices:
            named = ", ".join(f"{choice:g}" for choice in self.choices)
            raise BoundsError(f"the context {self.name} must be one of {named}, got {number:g}")
        return number

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as plain data."""
        values = dataclasses.asdict(self)
        # Only where it says something: what was written without it stays as it was.
        if not self.periodic:
            del values["periodic"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ContextParam:
        """Build a parameter from what `to_json` returned.

        Raises:
            UnknownNameError: There is a key that is no attribute.
            ContextError: A value is missing or wrong.
        """
        if not isinstance(values, Mapping):
            raise ContextError(f"a context parameter is a table of its attributes, got {values!r}")
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise unknown_name("attribute of a context parameter", str(name), names)
        try:
            return cls(**{name: _tupled(value) for name, value in values.items()})
        except TypeError as error:
            raise ContextError(f"a context parameter needs a name, low and high: {error}") from error

    def _check_order(self) -> None:
        if not self.low < self.high:
            raise ContextError(
                f"the context {self.name} needs low below high, got {self.low:g}, {self.high:g}"
            )
        if self.log and self.low <= 0:
            raise ContextError(f"the context {self.name} has logarithms only above 0, got low = {self.low:g}")
        if self.periodic and self.log:
            raise ContextError(f"the context {self.name} is periodic and has no logarithms: leave one out")
        low, high = self.train_low, self.train_high
        if not self.low <= low <= high <= self.high:
            raise ContextError(
                f"the training range of the context {self.name} must lie between {self.low:g} and "
                f"{self.high:g}, got {low:g} to {high:g}"
            )
        if low == high and not self.choices:
            raise ContextError(
                f"the training range of the context {self.name} is the one point {low:g}: leave the "
                "parameter out of the context instead"
            )
        if self.choices and (len(set(self.choices)) < 2 or not all(map(self._holds, self.choices))):
            raise ContextError(
                f"the choices of the context {self.name} must be two or more values from {self.low:g} to "
                f"{self.high:g}, got {self.choices}"
            )
        if self.periodic and {self.low, self.high} <= set(self.choices):
            raise ContextError(
                f"the choices {self.low:g} and {self.high:g} of the context {self.name} are one place of a "
                "circle: leave one out"
            )
        if not self._holds(self.default) or (self.choices and self.default not in self.choices):
            raise ContextError(f"the default {self.default:g} of the context {self.name} is not in its range")

    def _exact(self, number: float) -> float:
        """Return the bound or choice that is written like a number that is not allowed, else the number."""
        if self._holds(number) and (not self.choices or number in self.choices):
            return number
        return next((one for one in (self.low, self.high, *self.choices) if rounded(one) == number), number)

    def _holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def rounded(value: float) -> float:
    """Return a value with as many digits as tell contexts apart; there is no -0."""
    return float(f"{value:.{DIGITS}g}") + 0.0


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ContextError(f"{what} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise NonFiniteError(f"{what} must be finite, got {number}")
    return number


def _items(what: str, value: Any) -> tuple[Any, ...]:
    try:
        return tuple(value)
    except TypeError:
        raise ContextError(f"{what} must be a list, got {value!r}") from None


def _words(what: str, value: Any) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else _items(what, value)
    if not all(isinstance(word, str) and word for word in words):
        raise ContextError(f"{what} must be names, got {value!r}")
    return words


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
