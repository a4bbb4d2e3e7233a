"""Held-out combinations: every single value is trained on, and training hangs together."""

import itertools
import math

import numpy as np
import pytest

from hyperrl.context import ContextParam, ContextSpace, Splits, make_splits
from hyperrl.errors import ContextError

SIGNS = ContextSpace(tuple(ContextParam(name, -1.0, 1.0, choices=(-1.0, 1.0)) for name in "ab"))
MIXED = ContextSpace(
    (
        ContextParam("quadrant", 0.0, 3.0, 0.0, choices=(0.0, 1.0, 2.0, 3.0)),
        ContextParam("mass", 0.5, 2.0, log=True),
        *SIGNS.params,
    )
)


def hangs_together(rows):
    """Whether one comes from each task to each other one over tasks that share a value with the next."""
    reached, waiting = {0}, [0]
    while waiting:
        here = rows[waiting.pop()]
        for index, row in enumerate(rows):
            if index not in reached and (here == row).any():
                reached.add(index)
                waiting.append(index)
    return len(reached) == len(rows)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6, 0.8])
def test_each_value_is_trained_on_and_held_out_are_combinations_alone(seed, share):
    splits = make_splits(MIXED, "combinations", grid=3, test_fraction=share, seed=seed)
    trained, tests = splits.contexts("train"), splits.contexts("combinatorial")
    assert (len(tests), len(trained)) == (int(share * 48), 48 - int(share * 48))
    assert splits.names == ("train", "combinatorial")
    for column in range(4):
        assert set(tests[:, column]) <= set(trained[:, column])
    every = {tuple(row) for row in np.concatenate([trained, tests])}
    masses = sorted({row[1] for row in every})
    assert every == set(itertools.product(range(4), masses, (-1.0, 1.0), (-1.0, 1.0)))
    assert hangs_together(trained)
    assert Splits.from_json(splits.to_json()).text() == splits.text()


def test_chance_alone_would_leave_values_out():
    left_out = 0
    for seed in range(40):
        splits = make_splits(SIGNS, "tasks", test_fraction=0.5, seed=seed)
        trained, tests = splits.contexts("train"), splits.contexts("tasks")
        left_out += any(set(tests[:, column]) - set(trained[:, column]) for column in range(2))
    assert left_out > 10


@pytest.mark.parametrize("seed", range(8))
def test_of_two_signs_one_combination_can_be_held_out_and_not_two(seed):
    splits = make_splits(SIGNS, "combinations", test_fraction=0.25, seed=seed)
    assert len(splits.contexts("combinatorial")) == 1
    with pytest.raises(ContextError, match="2 of 4 tasks cannot be held out: training needs 3 to have each"):
        make_splits(SIGNS, "combinations", test_fraction=0.5, seed=seed)


def test_which_ones_are_held_out_depends_on_the_seed():
    held_out = {
        tuple(make_splits(SIGNS, "combinations", test_fraction=0.25, seed=seed).contexts("combinatorial")[0])
        for seed in range(40)
    }
    assert len(held_out) == 4


@pytest.mark.parametrize(
    ("space", "settings", "sentence"),
    [
        (
            ContextSpace(SIGNS.params[:1]),
            {},
            "combinations need two parameters or more, the context has a alone",
        ),
        (SIGNS, {}, "less than one test"),
        (SIGNS, {"n_train": 3}, "n_train is not for mode = 'combinations'"),
    ],
)
def test_what_cannot_be_held_out_is_said(space, settings, sentence):
    with pytest.raises(ContextError, match=sentence):
        make_splits(space, "combinations", **settings)


def test_a_full_turn_is_the_same_context():
    space = ContextSpace((ContextParam("angle", 0.0, 2 * math.pi, 0.0, periodic=True),))
    assert space.key([0.0]) == space.key([2 * math.pi]) != space.key([1.0])
    with pytest.raises(ContextError, match="has a context twice"):
        make_splits(space, "points", points=[[0.0], [2 * math.pi]])
    tasks = make_splits(space, "tasks", grid=4, test_fraction=0.25)
    angles = np.concatenate([tasks.contexts("train"), tasks.contexts("tasks")])[:, 0]
    assert np.sort(angles) == pytest.approx(np.arange(4) * math.pi / 2)
