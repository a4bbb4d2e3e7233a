"""Sets of contexts that one can draw from: boxes, and unions of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.context.param import ContextParam
from hyperrl.context.space import Array, ContextSpace
from hyperrl.errors import ContextError

Box = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Region:
    """A union of boxes of contexts.

    A parameter with `choices` takes those choices that lie within a box.

    Attributes:
        space: The space of the contexts.
        boxes: For each box its least and its greatest context. A box may be flat.

    Raises:
        ContextError: There is no box, a box is upside down or leaves the space, or it holds none of the
            choices of a parameter.
    """

    space: ContextSpace
    boxes: tuple[Box, ...]

    def __post_init__(self) -> None:
        """Refuse boxes that hold no context."""
        if not self.boxes:
            raise ContextError("a region of contexts needs at least one box")
        for low, high in self.boxes:
            for param, least, greatest in zip(self.space, low, high, strict=True):
                if not param.low <= least <= greatest <= param.high:
                    raise ContextError(
                        f"a box of contexts must lie within {param.low:g} to {param.high:g} along "
                        f"{param.name}, lower bound first, got {least:g} to {greatest:g}"
                    )
                if param.choices and not _within(param.choices, least, greatest):
                    raise ContextError(
                        f"no choice of {param.name} lies from {least:g} to {greatest:g}: the set is empty"
                    )

    @classmethod
    def box(cls, space: ContextSpace, low: ArrayLike, high: ArrayLike) -> Region:
        """Return the region of one box."""
        return cls(space, (boxed(low, high),))

    @classmethod
    def training(cls, space: ContextSpace) -> Region:
        """Return the box of the training ranges."""
        return cls.box(space, space.train_low, space.train_high)

    @classmethod
    def around(cls, space: ContextSpace, points: Array) -> Region:
        """Return the bounding box of points, shape [n, d].

        Along a circle it is the arc that they lie on, in two parts where that goes across its ends, or all of
        it where no gap between them is more than half a turn: then every place lies between two of them.
        """
        spans = [_spans(param, column) for param, column in zip(space, points.T, strict=True)]
        corners = itertools.product(*spans)
        return cls(space, tuple(boxed(*np.array(corner).T) for corner in corners))

    @classmethod
    def whole(cls, space: ContextSpace) -> Region:
        """Return the box of all that there is."""
        return cls.box(space, space.low, space.high)

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Draw contexts, each from a box that is drawn with equal chance.

        Args:
            rng: The generator.
            n: How many.

        Returns:
            Shape [n, d].
        """
        if self._is_plain and len(self.boxes) == 1:
            # One box is chosen without a draw: the same contexts, soon enough for the reset of an episode.
            low, width, high = self._only_box
            drawn = rng.random((n, len(self.space)))
            drawn *= width
            drawn += low
            # Rounding may go beyond the upper bound, never below the lower one.
            return np.minimum(drawn, high, out=drawn)
        chosen = rng.integers(len(self.boxes), size=n)
        return self._placed(chosen, rng.random((n, len(self.space))))

    def lhs(self, rng: np.random.Generator, n: int) -> Array:
        """Draw contexts evenly: a Latin hypercube over each box (McKay, Beckman & Conover 1979).

        Args:
            rng: The generator.
            n: How many.

        Returns:
            Shape [n, d].
        """
        chosen = np.arange(n) % len(self.boxes)
        units = np.empty((n, len(self.space)))
        for index in range(len(self.boxes)):
            rows = np.flatnonzero(chosen == index)
            for column in range(len(self.space)):
                units[rows, column] = (rng.permutation(len(rows)) + rng.random(len(rows))) / max(len(rows), 1)
        return self._placed(chosen, units)

    def grid(self, n: int) -> Array:
        """Return the grid of each box, without doubles.

        Args:
            n: Points along each parameter that has no choices, at least 2.

        Returns:
            Shape [m, d].

        Raises:
            ContextError: There would be fewer than 2 points along a parameter, or more than a million.
        """
        if n < 2:
            raise ContextError(f"a grid of contexts needs at least 2 points along each parameter, got {n}")
        rows = []
        for low, high in self.boxes:
            axes = [
                _axis(param, least, greatest, n)
                for param, least, greatest in zip(self.space, low, high, strict=True)
            ]
            if np.prod([float(len(axis)) for axis in axes]) > 1e6:
                raise ContextError(f"a grid of {n} points along each of {len(axes)} parameters is too large")
            rows.append(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)))
        points = np.concatenate(rows)
        first = {self.space.key(point): index for index, point in reversed(list(enumerate(points)))}
        return points[sorted(first.values())]

    def contains(self, contexts: ArrayLike) -> NDArray[np.bool_]:
        """Return which contexts of shape [n, d] lie in the region, shape [n]."""
        points = np.asarray(contexts, np.float64)
        least, greatest = self.space.low, self.space.high
        # Both ends of a circle are one place.
        circular = np.array([param.periodic for param in self.space])
        at_ends = circular & ((points == least) | (points == greatest))
        inside = [
            (((low <= points) & (points <= high)) | (at_ends & ((low == least) | (high == greatest)))).all(-1)
            for low, high in (map(np.array, box) for box in self.boxes)
        ]
        return np.asarray(np.any(inside, axis=0))

    def distance(self, contexts: ArrayLike) -> Array:
        """Return how far contexts lie from the region, in normalised units: the training range is 2 wide.

        Args:
            contexts: Shape [n, d].

        Returns:
            Euclidean distances, shape [n], 0 inside.
        """
        points = self.space.normalise(contexts)
        distances = []
        for low, high in self.boxes:
            least, greatest = self.space.normalise(low), self.space.normalise(high)
            distances.append(np.linalg.norm(gaps(self.space, points, least, greatest), axis=-1))
        return np.asarray(np.min(distances, axis=0))

    def to_json(self) -> list[Any]:
        """Return the boxes as plain data."""
        return [[list(low), list(high)] for low, high in self.boxes]

    @classmethod
    def from_json(cls, space: ContextSpace, values: Sequence[Sequence[Sequence[float]]]) -> Region:
        """Build a region from what `to_json` returned.

        Raises:
            ContextError: The values are no boxes.
        """
        try:
            return cls(space, tuple(boxed(low, high) for low, high in values))
        except (TypeError, ValueError) as error:
            raise ContextError(f"the boxes of a region of contexts cannot be read: {error}") from error

    @cached_property
    def _bounds(self) -> tuple[Array, Array]:
        return np.array([low for low, _ in self.boxes]), np.array([high for _, high in self.boxes])

    @cached_property
    def _only_box(self) -> tuple[Array, Array, Array]:
        # Of shape [1, d]: NumPy takes a third of the time where it has nothing to broadcast.
        low, high = self._bounds
        return low, high - low, high

    @cached_property
    def _is_plain(self) -> bool:
        return not any(param.log or param.choices for param in self.space)

    def _placed(self, chosen: NDArray[np.int64], units: Array) -> Array:
        """Return the contexts at places in [0, 1) of boxes, shapes [n] and [n, d]."""
        lows, highs = (bounds[chosen] for bounds in self._bounds)
        if self._is_plain:
            # The same numbers as below in a tenth of the time: every episode of training draws one context.
            return np.minimum(np.maximum(lows + units * (highs - lows), lows), highs)
        contexts = np.empty_like(units)
        for column, param in enumerate(self.space):
            low, high, unit = lows[:, column], highs[:, column], units[:, column]
            if param.choices:
                contexts[:, column] = [
                    _pick(_within(param.choices, *bounds), place)
                    for *bounds, place in zip(low, high, unit, strict=True)
                ]
            elif param.log:
                contexts[:, column] = np.clip(np.exp(np.log(low) + unit * np.log(high / low)), low, high)
            else:
                contexts[:, column] = np.clip(low + unit * (high - low), low, high)
        return contexts


def boxed(low: ArrayLike, high: ArrayLike) -> Box:
    """Return a box from its least and its greatest context, shape [d] each."""
    return (
        tuple(np.asarray(low, np.float64).tolist()),
        tuple(np.asarray(high, np.float64).tolist()),
    )


def gaps(space: ContextSpace, points: Array, low: Array, high: Array) -> Array:
    """Return how far points lie outside of bounds along each parameter, the short way round a circle.

    Args:
        space: The contexts' space.
        points: Normalised, shape [..., d].
        low: Lower bounds, normalised, of a shape that fits.
        high: Upper bounds.

    Returns:
        At least 0, of the shape that all of them have together.
    """
    gap = np.abs(points - np.clip(points, low, high))
    for column in [index for index, param in enumerate(space) if param.periodic]:
        turn = float(np.subtract(*space.normalise([space.high, space.low])[:, column]))
        own, least, greatest = points[..., column], low[..., column], high[..., column]
        for moved in (own - turn, own + turn):
            round_about = np.abs(moved - np.clip(moved, least, greatest))
            gap[..., column] = np.minimum(gap[..., column], round_about)
    return np.asarray(gap)


def _spans(param: ContextParam, values: Array) -> list[tuple[float, float]]:
    """Return the range of values along a parameter, or the parts of an arc; see `Region.around`."""
    places = np.unique(values)
    if not param.periodic:
        return [(places[0], places[-1])]
    turn = param.high - param.low
    between = np.diff(places, append=places[0] + turn)
    widest = int(between.argmax())
    if between[widest] <= turn / 2:
        return [(param.low, param.high)]
    if widest == len(places) - 1:
        return [(places[0], places[-1])]
    return [(param.low, places[widest]), (places[widest + 1], param.high)]


def _within(choices: Sequence[float], low: float, high: float) -> list[float]:
    return [choice for choice in sorted(choices) if low <= choice <= high]


def _pick(choices: Sequence[float], place: float) -> float:
    return choices[int(place * len(choices))]


def _axis(param: Any, low: float, high: float, n: int) -> Array:
    if param.choices:
        return np.array(_within(param.choices, low, high))
    if low == high:
        return np.array([low])
    if param.periodic and (low, high) == (param.low, param.high):
        return np.linspace(low, high, n, endpoint=False)  # The end is the beginning.
    # The end points exactly: `geomspace` and `linspace` see to that.
    return np.geomspace(low, high, n) if param.log else np.linspace(low, high, n)
