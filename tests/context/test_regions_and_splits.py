"""Regions of contexts and their division into training and tests."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrl.context import MODES, ContextParam, ContextSpace, Region, Splits, make_splits
from hyperrl.errors import ContextError, HyperRLError

MASS = ContextParam("mass", 0.5, 1.5, train=(0.75, 1.25))
GRAVITY = ContextParam("gravity", 0.2, 2.0, train=(0.5, 1.0))
DENSITY = ContextParam("density", 1.0, 100.0, 10.0, log=True, train=(4.0, 25.0))
SIGN = ContextParam("sign", -1.0, 1.0, choices=(-1.0, 1.0))
SPACE = ContextSpace((MASS, GRAVITY))
MIXED = ContextSpace((MASS, DENSITY, SIGN))
POINTS = [[0.8, 0.6], [1.2, 0.9], [1.0, 1.0]]


def rng(seed=0):
    return np.random.default_rng(seed)


def settings_of(mode, space=SPACE):
    return {"points": POINTS} if mode == "points" else {"grid": 6} if mode == "tasks" else {}


@given(st.integers(0, 2**31), st.integers(1, 40))
@settings(max_examples=30)
def test_draws_lie_in_their_region_and_depend_on_the_seed_alone(seed, n):
    region = Region(MIXED, (((0.5, 1.0, -1.0), (0.7, 2.0, -1.0)), ((1.0, 50.0, -1.0), (1.5, 100.0, 1.0))))
    for draw in (region.sample, region.lhs):
        contexts = draw(rng(seed), n)
        assert region.contains(contexts).all()
        assert np.array_equal(contexts, draw(rng(seed), n))
        assert set(contexts[:, 2]) <= {-1.0, 1.0}
        assert np.array_equal(region.distance(contexts), np.zeros(n))
        MIXED.arrays(contexts)


def test_the_short_way_to_place_contexts_gives_the_bits_of_the_long_one():
    region = Region(SPACE, (((0.5, 0.2), (0.6, 2.0)), ((1.0, 1.0), (1.5, 1.0))))
    generator, again = rng(3), rng(3)
    found = region.sample(generator, 200)
    chosen, units = again.integers(2, size=200), again.random((200, 2))
    for row, box, unit in zip(found, chosen, units, strict=True):
        low, high = (np.array(bound) for bound in region.boxes[box])
        assert np.array_equal(row, np.clip(low + unit * (high - low), low, high))


def test_one_box_is_drawn_from_as_the_only_one_of_several():
    region = Region.whole(SPACE)
    generator, again = rng(4), rng(4)
    found = region.sample(generator, 50)
    again.integers(1, size=50)
    low, high = SPACE.low, SPACE.high
    assert np.array_equal(found, np.clip(low + again.random((50, 2)) * (high - low), low, high))
    assert generator.random() == again.random()


def test_logarithms_are_drawn_evenly():
    draws = Region.whole(ContextSpace([DENSITY])).sample(rng(), 4000)[:, 0]
    assert abs(np.mean(draws < 10.0) - 0.5) < 0.03


def test_a_latin_hypercube_has_one_context_in_each_slice():
    contexts = Region.whole(SPACE).lhs(rng(1), 16)
    for column, param in enumerate(SPACE):
        slices = np.floor(16 * (contexts[:, column] - param.low) / (param.high - param.low)).astype(int)
        assert sorted(slices.clip(0, 15)) == list(range(16))


def test_a_grid_has_every_combination_once():
    contexts = Region.whole(MIXED).grid(3)
    assert len(contexts) == 3 * 3 * 2
    assert np.allclose(np.unique(contexts[:, 0]), [0.5, 1.0, 1.5])
    assert np.allclose(np.unique(contexts[:, 1]), [1.0, 10.0, 100.0])
    overlapping = Region(SPACE, (((0.5, 0.2), (1.5, 2.0)), ((0.5, 0.2), (1.5, 0.2))))
    keys = [SPACE.key(row) for row in overlapping.grid(4)]
    assert len(keys) == len(set(keys)) == 16


def test_distances_are_those_to_the_nearest_box():
    region = Region.training(SPACE)
    # The training ranges, 0.5 wide each, are 2 wide in normalised units.
    found = region.distance([[1.0, 0.75], [1.5, 0.75], [0.5, 0.25], [1.25, 1.5]])
    assert np.allclose(found, [0.0, 1.0, np.sqrt(2.0), 2.0])
    splits = make_splits(SPACE, "points", points=POINTS)
    by_hand = min(np.linalg.norm(SPACE.normalise([1.4, 1.4]) - SPACE.normalise(point)) for point in POINTS)
    assert np.isclose(splits.distance([[1.4, 1.4]])[0], by_hand)


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("mode", MODES)
def test_tests_have_no_context_of_training_and_none_twice(mode, seed):
    splits = make_splits(SPACE, mode, seed=seed, **settings_of(mode))
    trained = {SPACE.key(row) for row in splits.contexts("train")}
    assert splits.names[0] == "train"
    assert len(splits.names) > 1
    for name in splits.tests:
        keys = [SPACE.key(row) for row in splits.contexts(name)]
        assert keys
        assert len(set(keys)) == len(keys)
        assert not trained & set(keys)
    again = Splits.from_json(json.loads(splits.text()))
    assert again.text() == splits.text()
    drawn = [splits.draw(generator) for generator in (rng(5), rng(5))]
    assert np.array_equal(again.draw(rng(5)), drawn[0])
    assert make_splits(SPACE, mode, seed=seed, **settings_of(mode)).text() == splits.text()


def test_each_test_lies_where_its_name_says():
    low, high = SPACE.train_low, SPACE.train_high
    middle = (low + high) / 2
    for mode in ("box", "bands", "axes"):
        splits = make_splits(SPACE, mode, seed=2)
        inside = {
            name: (low <= splits.contexts(name)) & (splits.contexts(name) <= high) for name in splits.names
        }
        assert inside["train"].all()
        assert inside["interpolation"].all()
        assert (inside["extrapolation"].sum(axis=1) == 1).all()
        assert not inside["extrapolation_all"].any()
        assert (splits.distance(splits.contexts("interpolation")) == 0).all()
        assert (splits.distance(splits.contexts("extrapolation")) > 0).all()
        if mode == "bands":
            assert (splits.contexts("train") <= middle).any(axis=1).all()
            assert (splits.contexts("combinatorial") > middle).all()
        if mode == "axes":
            assert (np.abs(splits.contexts("train") - SPACE.default) < 1e-12).any(axis=1).all()


def test_combinations_of_many_parameters_are_found():
    space = ContextSpace([ContextParam(f"p{index}", 0.5, 1.5, train=(0.75, 1.25)) for index in range(12)])
    for mode in ("bands", "axes"):
        splits = make_splits(space, mode)
        assert len(splits.contexts("combinatorial")) == 32
        assert (splits.distance(splits.contexts("combinatorial")) > 0).all()


def test_a_choice_that_has_no_upper_half_leaves_no_combination():
    lower = ContextParam("sign", -1.0, 1.0, choices=(-1.0, 1.0), train=(-1.0, 0.0))
    splits = make_splits(ContextSpace([MASS, lower]), "bands")
    assert "combinatorial" not in splits.names


def test_tasks_are_a_grid_of_which_a_share_rounded_down_is_tested():
    splits = make_splits(ContextSpace([MASS]), "tasks", grid=40)
    assert len(splits.contexts("train")) == 34
    assert len(splits.contexts("tasks")) == 6
    every = np.sort(np.concatenate([splits.contexts("train"), splits.contexts("tasks")])[:, 0])
    assert np.allclose(every, np.linspace(0.75, 1.25, 40))


def test_finitely_many_contexts_of_training_are_drawn_and_no_others():
    splits = make_splits(SPACE, n_train=3)
    drawn = {SPACE.key(splits.draw(generator)) for generator in map(rng, range(60))}
    assert drawn == {SPACE.key(row) for row in splits.contexts("train")}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mode": "iid"}, "unknown way"),
        ({"n_test": 0}, "n_test"),
        ({"n_train": 0}, "n_train"),
        ({"seed": -1}, "seed"),
        ({"mode": "tasks", "n_train": 3}, "n_train is not for"),
        ({"points": POINTS}, "points belong"),
        ({"mode": "points"}, "points belong"),
        ({"mode": "points", "points": []}, "empty"),
        ({"mode": "points", "points": [POINTS[0], POINTS[0]]}, "twice"),
        ({"mode": "points", "points": [[9.0, 1.0]]}, "must be from"),
        ({"mode": "points", "points": 5}, "must be a list"),
        ({"mode": "points", "points": [[1.0, [1.0]]]}, "row of numbers"),
        ({"mode": "tasks", "grid": 2}, "less than one test"),
        ({"mode": "tasks", "test_fraction": 1.0}, "test_fraction"),
    ],
)
def test_divisions_that_cannot_be_are_refused(arguments, sentence):
    with pytest.raises(HyperRLError, match=sentence):
        make_splits(SPACE, **{"mode": "box", **arguments})


def test_sets_that_are_empty_or_overlap_are_refused():
    rows = np.array(POINTS)
    with pytest.raises(ContextError, match="also trained on"):
        Splits(SPACE, "points", 0, rows, tests={"other": rows[:1] + 1e-13})
    with pytest.raises(ContextError, match="is empty"):
        Splits(SPACE, "points", 0, rows, tests={"other": rows[:0]})
    with pytest.raises(ContextError, match="called 'train'"):
        Splits(SPACE, "points", 0, rows, tests={"train": rows})
    with pytest.raises(ContextError, match="points or a region"):
        Splits(SPACE, "points", 0)
    with pytest.raises(ContextError, match="no choice"):
        Region.box(ContextSpace([SIGN]), [-0.5], [0.5])
    with pytest.raises(ContextError, match="at least one box"):
        Region(SPACE, ())


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"points": None, "region": None},
        {"points": 3},
        {"tests": {"a": [[1.0]]}},
        {"tests": [1, 2]},
        {"tests": {"a": 1.0}},
        {"seed": None},
        {"space": 3},
        {"space": [3]},
    ],
)
def test_json_of_something_else_is_refused(change):
    values = {**make_splits(SPACE, n_train=3).to_json(), **change}
    with pytest.raises(HyperRLError):
        Splits.from_json(values)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "splits.json"
    with pytest.raises(ContextError, match="cannot be read"):
        Splits.read(path)
    path.write_text("{")
    with pytest.raises(ContextError, match="cannot be read"):
        Splits.read(path)
    path.write_text(make_splits(SPACE).text())
    assert Splits.read(path).text() == path.read_text()
