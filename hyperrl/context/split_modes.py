"""Ways to divide a space of contexts into training and tests.

The names "box", "bands" and "axes" stand for the modes A, B and C of Kirk et al., "A Survey of Zero-shot
Generalisation in Deep Reinforcement Learning" (2023), section 3; "tasks" is the split of HyperZero (Rezaei-
Shoshtari et al., AAAI 2023), "points" that of the Decision Adapter (Beukman et al., NeurIPS 2023).
"combinations" holds tasks out as Schug et al., "Discovering modular solutions that generalize
compositionally" (ICLR 2024), ask for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.context.region import Box, Region, boxed
from hyperrl.context.space import Array, ContextSpace
from hyperrl.context.splits import Splits
from hyperrl.errors import ContextError, unknown_name
from hyperrl.ranges import above, whole

MODES = ("box", "bands", "axes", "tasks", "combinations", "points")
"""`box`: training has the whole box of training ranges. `bands`: one parameter of it stays in its lower half.
`axes`: one parameter varies, the others have their defaults. `tasks`: a grid of tasks, of which some are
tests. `combinations`: the same, but each value of each parameter is trained on. `points`: given contexts."""

INTERPOLATION = "interpolation"
COMBINATORIAL = "combinatorial"
EXTRAPOLATION = "extrapolation"
EXTRAPOLATION_ALL = "extrapolation_all"
TASKS = "tasks"

_TRIES = 64  # Batches of draws after which a set of contexts counts as empty.


def make_splits(
    space: ContextSpace,
    mode: str = "box",
    *,
    n_train: int | None = None,
    n_test: int = 32,
    grid: int = 20,
    test_fraction: float = 0.15,
    points: Sequence[Any] | None = None,
    seed: int = 0,
) -> Splits:
    """Divide the contexts of a space.

    Which tests there are depends on the space: "interpolation" (new contexts of the region of training; for
    points those within their bounding box), "combinatorial" (within the training ranges, in combinations that
    training never had), "extrapolation" (one parameter outside its range of training), "extrapolation_all"
    (all of them outside; not for one parameter) and "tasks".

    Args:
        space: The space.
        mode: One of `MODES`.
        n_train: Number of contexts of training, drawn evenly; None trains on the whole region. Only for
            "box", "bands" and "axes".
        n_test: Number of contexts of each test, and of those of a region on which training is evaluated.
        grid: Points along each parameter, for "tasks" and "combinations".
        test_fraction: Share of the tasks that are tests, for the same; 0.15 as published, rounded down.
        points: The contexts of training, for "points".
        seed: Of the draws.

    Returns:
        The splits. Training and tests have no context in common.

    Raises:
        UnknownNameError: The mode is unknown.
        ConfigError: A number is out of range.
        ContextError: Settings contradict each other, or a set would be empty.
    """
    if mode not in MODES:
        raise unknown_name("way to split contexts", str(mode), MODES)
    whole(1, 100_000).check("n_test", n_test)
    whole(0, 2**32 - 1).check("seed", seed)
    if n_train is not None:
        whole(1, 100_000).check("n_train", n_train)
        if mode in ("tasks", "combinations", "points"):
            raise ContextError(f"n_train is not for mode = {mode!r}, whose contexts of training are given")
    if (points is not None) != (mode == "points"):
        raise ContextError("points belong to mode = 'points': give both or neither")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
    if mode in ("tasks", "combinations"):
        return _tasks(space, rng, grid, test_fraction, seed, mode)
    if mode == "points":
        assert points is not None
        return _points(space, rng, points, n_test, seed)
    region = Region(space, _boxes_of_training(space, mode))
    drawn = region.lhs(rng, n_train) if n_train is not None else None
    trained = None if drawn is None else _unique(space, drawn)
    shown = None if trained is not None else _unique(space, region.lhs(rng, n_test))
    seen = shown if trained is None else trained
    assert seen is not None
    tests = {INTERPOLATION: _draw(region, rng, n_test, seen)}
    combined = _combined(space, mode)
    if combined is not None:
        tests[COMBINATORIAL] = _draw(combined, rng, n_test, seen, outside=region)
    tests |= _beyond(space, rng, n_test, seen)
    return Splits(
        space,
        mode,
        seed,
        trained,
        None if trained is not None else region,
        shown,
        {name: rows for name, rows in tests.items() if len(rows)},
    )


_STREAM = 0x5711  # Keeps these draws apart from others of the same seed.


def _tasks(
    space: ContextSpace, rng: np.random.Generator, grid: int, test_fraction: float, seed: int, mode: str
) -> Splits:
    """Split a grid of tasks by chance, the first `test_fraction` of them (rounded down) to the tests."""
    if mode == "combinations" and len(space) == 1:
        raise ContextError(
            f"combinations need two parameters or more, the context has {space.names[0]} alone: use split = "
            "'tasks'"
        )
    share = above(0, 0.95).check("test_fraction", test_fraction)
    tasks = Region.training(space).grid(int(whole(2, 10_000).check("grid", grid)))
    tests = int(share * len(tasks))
    if not tests:
        raise ContextError(
            f"{share:g} of {len(tasks)} tasks is less than one test: give a larger grid or test_fraction"
        )
    order = rng.permutation(len(tasks))
    if mode == "combinations":
        linked = _linked(tasks[order])
        if tests > len(tasks) - linked.sum():
            raise ContextError(
                f"{tests} of {len(tasks)} tasks cannot be held out: training needs {linked.sum()} to have "
                "each value of each parameter in combinations that are linked; give a smaller test_fraction"
            )
        order = np.concatenate([order[~linked], order[linked]])
    name = TASKS if mode == "tasks" else COMBINATORIAL
    return Splits(
        space, mode, seed, tasks[np.sort(order[tests:])], tests={name: tasks[np.sort(order[:tests])]}
    )


def _linked(tasks: Array) -> NDArray[np.bool_]:
    """Return which tasks [n, d] suffice to have all values of each parameter, linked with one another.

    Two values are linked where one task has both. Values that fall into parts without a link can be learned
    apart, each part in a way of its own, and then do not fit together (Schug et al., ICLR 2024).
    """
    columns = [np.unique(column, return_inverse=True)[1] for column in tasks.T]
    firsts = np.cumsum([0, *(column.max() + 1 for column in columns)])
    values = np.stack(columns, axis=1) + firsts[:-1]
    parts = np.arange(firsts[-1])  # Of each value; linked ones have the same.
    needed = np.zeros(len(tasks), bool)
    for index, row in enumerate(values):
        own = parts[row]
        if (own != own[0]).any():
            needed[index] = True
            parts[np.isin(parts, own)] = own[0]
            if (parts == parts[0]).all():
                break
    return needed


def _points(
    space: ContextSpace, rng: np.random.Generator, points: Sequence[Any], n_test: int, seed: int
) -> Splits:
    """Train on given points; tests are the others within their bounding box and those outside of it."""
    trained = space.arrays(points)
    if not len(trained):
        raise ContextError("the set of contexts 'train' is empty")
    tests = {}
    bounds = Region.around(space, trained)
    if any(low != high for low, high in bounds.boxes):
        tests[INTERPOLATION] = _draw(bounds, rng, n_test, trained)
    beyond = _draw(Region.whole(space), rng, n_test, trained, outside=bounds)
    if len(beyond):
        tests[EXTRAPOLATION] = beyond
    return Splits(
        space, "points", seed, trained, tests={name: rows for name, rows in tests.items() if len(rows)}
    )


def _boxes_of_training(space: ContextSpace, mode: str) -> tuple[Box, ...]:
    low, high = space.train_low, space.train_high
    if mode == "box" or len(space) == 1:
        return (boxed(low, high),)
    boxes = []
    for index in range(len(space)):
        if mode == "bands":
            least, greatest = low.copy(), high.copy()
            greatest[index] = _middle(space)[index]
        else:
            least, greatest = space.default.copy(), space.default.copy()
            least[index], greatest[index] = low[index], high[index]
        boxes.append(boxed(least, greatest))
    return tuple(boxes)


def _combined(space: ContextSpace, mode: str) -> Region | None:
    """Return where training has every value of each parameter, and among them its unseen combinations."""
    if mode == "box" or len(space) == 1:
        return None
    if mode == "axes":
        return Region.training(space)
    # Nothing else of the box is left out: of many parameters hardly any draw from the whole box would do.
    middle, high = _middle(space), space.train_high
    has_upper_half = all(
        not param.choices or any(low < choice <= most for choice in param.choices)
        for param, low, most in zip(space, middle, high, strict=True)
    )
    return Region.box(space, middle, high) if has_upper_half else None


def _middle(space: ContextSpace) -> Array:
    """Return the middle of the training ranges, in the logarithm where a parameter has it."""
    return space.denormalise(np.zeros(len(space)))


def _beyond(space: ContextSpace, rng: np.random.Generator, n: int, seen: Array) -> dict[str, Array]:
    """Return contexts with one parameter, and with all parameters, outside the ranges of training."""
    low, high = space.train_low, space.train_high
    single: list[Box] = []
    every: list[Box] = []
    sides = [_sides(space, index) for index in range(len(space))]
    for index, own in enumerate(sides):
        for side_low, side_high in own:
            least, greatest = low.copy(), high.copy()
            least[index], greatest[index] = side_low, side_high
            single.append(boxed(least, greatest))
    every.extend(
        boxed([bounds[0] for bounds in corner], [bounds[1] for bounds in corner])
        for corner in itertools.islice(itertools.product(*sides), 256)
    )
    inside = Region.training(space)
    found = {}
    if single:
        found[EXTRAPOLATION] = _draw(Region(space, tuple(single)), rng, n, seen, outside=inside)
    if every and len(space) > 1:
        found[EXTRAPOLATION_ALL] = _draw(Region(space, tuple(every)), rng, n, seen, outside=inside)
    return found


def _sides(space: ContextSpace, index: int) -> list[tuple[float, float]]:
    """Return the ranges of a parameter below and above that of training, where there is something in them."""
    param = space.params[index]
    sides = [(param.low, param.train_low), (param.train_high, param.high)]
    own = [(low, high) for low, high in sides if low < high]
    if not param.choices:
        return own
    unseen = [choice for choice in param.choices if not param.train_low <= choice <= param.train_high]
    return [(choice, choice) for choice in unseen]


def _draw(
    region: Region, rng: np.random.Generator, n: int, seen: Array, outside: Region | None = None
) -> Array:
    """Draw up to n contexts of a region that are not among others, nor in another region.

    A region of choices alone may hold fewer than n.
    """
    space = region.space
    known = {space.key(row) for row in seen}
    kept: list[Array] = []
    for _ in range(_TRIES):
        for row in region.lhs(rng, n):
            if outside is not None and bool(outside.contains(row[None])[0]):
                continue
            if space.key(row) not in known:
                known.add(space.key(row))
                kept.append(row)
        if len(kept) >= n:
            break
    return np.stack(kept[:n]) if kept else np.zeros((0, len(space)))


def _unique(space: ContextSpace, rows: Array) -> Array:
    first = {space.key(row): index for index, row in reversed(list(enumerate(rows)))}
    return rows[sorted(first.values())]
