"""Which contexts are trained on, and which sets of others a policy is tested on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hyperrl.context.region import Region, gaps
from hyperrl.context.space import Array, ContextSpace
from hyperrl.errors import ContextError, ShapeError, unknown_name

TRAIN = "train"
"""The name of the contexts of training among the sets that are evaluated."""

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Splits:
    """The contexts of training and sets of others.

    Training draws from finitely many points or from a region, never from both.

    Attributes:
        space: The space of all contexts.
        mode: How the split was made, see `hyperrl.context.split_modes.MODES`.
        seed: What it was drawn with.
        points: The contexts of training where they are finitely many, shape [n, d]; None otherwise.
        region: Where contexts of training are drawn from otherwise.
        shown: For a region, the contexts of it on which training itself is evaluated, shape [n, d].
        tests: The sets of other contexts by name, shape [n, d] each.

    Raises:
        ContextError: There are both or neither of points and region, a set is empty or has a context twice,
            or a test has a context that is also trained on.
        HyperRLError: A context is not in the space.
    """

    space: ContextSpace
    mode: str
    seed: int
    points: Array | None = None
    region: Region | None = None
    shown: Array | None = None
    tests: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check and freeze all sets."""
        if (self.points is None) == (self.region is None) or (self.region is None) != (self.shown is None):
            raise ContextError("training needs either points or a region, and a region contexts to show")
        for name in ("points", "shown"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, self._checked(TRAIN, getattr(self, name)))
        if TRAIN in self.tests:
            raise ContextError(f"no set of test contexts can be called {TRAIN!r}")
        object.__setattr__(
            self, "tests", {name: self._checked(name, rows) for name, rows in self.tests.items()}
        )
        trained = {self.space.key(row) for row in self.contexts(TRAIN)}
        for name, rows in self.tests.items():
            common = [row for row in rows if self.space.key(row) in trained]
            if common:
                raise ContextError(
                    f"{len(common)} of the test contexts {name!r} are also trained on, for example "
                    f"{self.space.text(common[0])}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The sets that can be evaluated: "train" and the tests."""
        return (TRAIN, *self.tests)

    def contexts(self, name: str) -> Array:
        """Return the contexts of a set, shape [n, d].

        Raises:
            UnknownNameError: There is no such set.
        """
        if name not in self.names:
            raise unknown_name("split", name, self.names)
        own = self.points if self.region is None else self.shown
        rows: Array | None = own if name == TRAIN else self.tests[name]
        assert rows is not None
        return rows

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw one context of training, shape [d]; always with the same number of draws of `rng`."""
        if self.points is not None:
            drawn: Array = self.points[int(rng.integers(len(self.points)))].copy()
            return drawn
        assert self.region is not None
        sampled: Array = self.region.sample(rng, 1)[0]
        return sampled

    def distance(self, contexts: ArrayLike) -> Array:
        """Return how far contexts lie from those of training, in normalised units (see `Region.distance`).

        Args:
            contexts: Shape [n, d].

        Returns:
            Shape [n], 0 for contexts that training may have.
        """
        if self.region is not None:
            return self.region.distance(contexts)
        assert self.points is not None
        others, own = self.space.normalise(contexts)[:, None], self.space.normalise(self.points)[None]
        return np.asarray(np.linalg.norm(gaps(self.space, others, own, own), axis=-1).min(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Return the splits as plain data, from which `from_json` makes the same ones, bit for bit."""
        return {
            "format": _FORMAT,
            "space": self.space.to_json(),
            "mode": self.mode,
            "seed": self.seed,
            "points": None if self.points is None else self.points.tolist(),
            "region": None if self.region is None else self.region.to_json(),
            "shown": None if self.shown is None else self.shown.tolist(),
            "tests": {name: rows.tolist() for name, rows in self.tests.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Splits:
        """Build the splits from what `to_json` returned.

        Raises:
            ContextError: The data is of a later version or incomplete.
            HyperRLError: A value is wrong, see `Splits`.
        """
        if not isinstance(values, Mapping) or values.get("format") != _FORMAT:
            raise ContextError(f"splits of contexts need format = {_FORMAT}: these are of another version")
        missing = {"space", "mode", "seed", "points", "region", "shown", "tests"} - set(values)
        if missing:
            raise ContextError(f"the splits of contexts lack {', '.join(sorted(missing))}")
        seed, tests = values["seed"], values["tests"]
        if not isinstance(seed, int) or not isinstance(tests, Mapping):
            raise ContextError("splits of contexts need a whole number as seed and a table of tests")
        space = ContextSpace.from_json(values["space"])
        region = None if values["region"] is None else Region.from_json(space, values["region"])
        return cls(
            space,
            str(values["mode"]),
            seed,
            values["points"],
            region,
            values["shown"],
            dict(tests),
        )

    @classmethod
    def read(cls, path: Path) -> Splits:
        """Read splits from a JSON file.

        Raises:
            ContextError: The file cannot be read or is none of splits.
            HyperRLError: A value in it is wrong.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ContextError(f"the splits of contexts {path} cannot be read: {error}") from error
        return cls.from_json(values)

    def text(self) -> str:
        """Return the splits as JSON text."""
        return json.dumps(self.to_json(), indent=1) + "\n"

    def _checked(self, name: str, rows: Any) -> Array:
        try:
            array = self.space.arrays(rows)
        except ShapeError as error:
            raise ShapeError(f"in the set of contexts {name!r}: {error}") from error
        if not len(array):
            raise ContextError(f"the set of contexts {name!r} is empty")
        if len({self.space.key(row) for row in array}) < len(array):
            raise ContextError(f"the set of contexts {name!r} has a context twice")
        array.flags.writeable = False
        return array
