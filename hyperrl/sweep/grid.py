"""The `[grid]` of a sweep's file: which settings take which values, and their combinations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hyperrl.config import SETTINGS
from hyperrl.errors import ConfigError, unknown_name
from hyperrl.ranges import whole

MOST_RUNS = 10_000
_TABLES = ("agent_kwargs", "env_kwargs")
# What a sweep decides itself.
_OF_THE_SWEEP = {
    "out": "each run has a folder in the sweep's: choose that with --out",
    "threads": "each run of a sweep has one thread",
}


@dataclass(frozen=True)
class Grid:
    """Settings that take several values.

    Attributes:
        axes: The values by the dotted name of the setting, for example "agent_kwargs.learning_rate".
        excluded: Combinations to be left out: the values of some of the axes, each.
    """

    axes: Mapping[str, tuple[Any, ...]]
    excluded: tuple[Mapping[str, Any], ...] = ()

    def combinations(self) -> list[dict[str, Any]]:
        """Return the value of every axis, combination by combination.

        The first seed of everything comes before the second of anything, so that all can be compared early.

        Raises:
            ConfigError: There are none, or too many.
        """
        count = math.prod(map(len, self.axes.values()))
        if count > MOST_RUNS:
            raise ConfigError(f"the grid has {count:,} combinations: a sweep has {MOST_RUNS:,} at most")
        order = sorted(self.axes, key=lambda key: (key != "seed", key != "env", key != "agent", key))
        products = itertools.product(*(self.axes[key] for key in order))
        every = [dict(zip(order, values, strict=True)) for values in products]
        kept = [one for one in every if not any(_matches(one, pattern) for pattern in self.excluded)]
        if not kept:
            raise ConfigError("nothing is left to run: [[exclude]] takes out every combination")
        return kept


def read_grid(table: Mapping[str, Any], excluded: list[Mapping[str, Any]], source: str) -> Grid:
    """Read the parts `[grid]` and `[[exclude]]`.

    Args:
        table: The part `[grid]`.
        excluded: The parts `[[exclude]]`.
        source: What the file is called in messages.

    Raises:
        ConfigError: An axis is empty, no list, or has a value twice.
        UnknownNameError: There is no such setting, or no such axis.
    """
    axes: dict[str, tuple[Any, ...]] = {}
    for key, value in _leaves(table, ""):
        check_key(key, f"[grid] of {source}")
        axes[key] = _values(key, value, source)
    if not axes:
        raise ConfigError(f"[grid] of {source} is empty: it needs lists, for example seed = [0, 1, 2]")
    for one, other in itertools.permutations(axes, 2):
        if other.startswith(f"{one}."):
            raise ConfigError(f"{other} and {one} in [grid] of {source} set the same: keep one of them")
    return Grid(axes, tuple(_pattern(part, axes, source) for part in excluded))


def check_key(key: str, where: str) -> None:
    """Refuse the dotted name of a setting that a sweep's file cannot have.

    Args:
        key: The name.
        where: The part of the file, for messages.

    Raises:
        UnknownNameError: There is no such setting.
        ConfigError: The sweep decides it, or it has no parts.
    """
    first, dot, rest = key.partition(".")
    if first in _OF_THE_SWEEP:
        raise ConfigError(f"{first} cannot be in {where}: {_OF_THE_SWEEP[first]}")
    if first not in SETTINGS:
        raise unknown_name(f"setting in {where}", first, set(SETTINGS) - set(_OF_THE_SWEEP))
    if dot and (first not in _TABLES or not all(rest.split("."))):
        raise ConfigError(f"{key!r} in {where} is no setting: only {' and '.join(_TABLES)} have parts")


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return `{"a": {"b": value}}` for the key "a.b".

    Args:
        key: A dotted name.
        value: Its value.
    """
    for part in reversed(key.split(".")):
        value = {part: value}
    table: dict[str, Any] = value
    return table


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Give dotted names and values, whether the file has `a.b`, `"a.b"` or a table `[grid.a]`."""
    for key, value in table.items():
        if isinstance(value, Mapping) and prefix + key != "seed":
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _values(key: str, value: Any, source: str) -> tuple[Any, ...]:
    if key == "seed" and isinstance(value, Mapping):
        value = _seeds(value, source)
    if not isinstance(value, list):
        raise ConfigError(
            f"{key} in [grid] of {source} must be a list of values, got {value!r}: one value for all runs "
            "belongs into [run]"
        )
    if not value:
        raise ConfigError(f"{key} in [grid] of {source} is an empty list")
    for index, one in enumerate(value):
        if one in value[:index]:
            raise ConfigError(f"{key} in [grid] of {source} has {one!r} twice: the runs would be the same")
        if key in ("agent", "env") and (not isinstance(one, str) or not one):
            raise ConfigError(f"{key} in [grid] of {source} must hold names, got {one!r}")
    return tuple(value)


def _seeds(table: Mapping[str, Any], source: str) -> list[int]:
    for key in table:
        if key not in ("count", "start"):
            raise unknown_name(f"key of seed in [grid] of {source}", key, ("count", "start"))
    if "count" not in table:
        raise ConfigError(f"seed in [grid] of {source} needs a count, for example seed = {{ count = 3 }}")
    count = int(whole(1, MOST_RUNS).check(f"the count of seed in [grid] of {source}", table["count"]))
    start = int(whole(0, 2**32 - 1).check(f"the start of seed in [grid] of {source}", table.get("start", 0)))
    return list(range(start, start + count))


def _pattern(part: Mapping[str, Any], axes: Mapping[str, tuple[Any, ...]], source: str) -> dict[str, Any]:
    # A value may be a table itself, so the parts of an axis's name are looked for, not all there are.
    pattern = {}
    for key, value in _down_to(part, set(axes), ""):
        if key not in axes:
            raise unknown_name(f"axis in [[exclude]] of {source}", key, axes)
        if value not in axes[key]:
            raise ConfigError(f"[[exclude]] of {source} names {key} = {value!r}, which [grid] does not have")
        pattern[key] = value
    if not pattern:
        raise ConfigError(f"an [[exclude]] of {source} is empty: it would take out every combination")
    return pattern


def _down_to(table: Mapping[str, Any], names: set[str], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and prefix + key not in names:
            yield from _down_to(value, names, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _matches(combination: Mapping[str, Any], pattern: Mapping[str, Any]) -> bool:
    return all(combination[key] == value for key, value in pattern.items())
