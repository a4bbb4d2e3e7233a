"""Parameters and spaces of contexts: round trips, closed forms, refusals."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrl.context import (
    ContextParam,
    ContextSpace,
    Region,
    make_splits,
    shown,
    shown_bounds,
    shown_size,
)
from hyperrl.errors import (
    BoundsError,
    ContextError,
    HyperRLError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
)

MASS = ContextParam("mass", 0.5, 1.5, train=(0.75, 1.25))
DENSITY = ContextParam("density", 0.5, 100.0, 5.0, op="set", log=True, train=(5.0, 75.0), unit="kg/m^3")
SIGN = ContextParam("sign", -1.0, 1.0, choices=(-1.0, 1.0))
SPACE = ContextSpace((MASS, DENSITY, SIGN))


def numbers(low, high):
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


contexts = st.tuples(numbers(0.5, 1.5), numbers(0.5, 100.0), st.sampled_from([-1.0, 1.0])).map(np.array)


@st.composite
def spaces(draw):
    params = []
    for index in range(draw(st.integers(1, 4))):
        log = draw(st.booleans())
        low = draw(numbers(0.01, 5.0)) if log else draw(numbers(-100.0, 100.0))
        width = draw(numbers(0.1, 50.0))
        inner = sorted(low + width * draw(numbers(0.0, 1.0)) for _ in range(2))
        train = tuple(inner) if inner[1] - inner[0] > 1e-3 else None
        params.append(ContextParam(f"p{index}", low, low + width, low, log=log, train=train))
    return ContextSpace(tuple(params))


@given(contexts)
def test_a_context_survives_names_and_text(context):
    assert np.array_equal(SPACE.array(SPACE.as_dict(context)), context)
    back = SPACE.parse(SPACE.text(context))
    assert SPACE.key(back) == SPACE.key(context)
    assert np.allclose(back, context, rtol=1e-8)
    assert SPACE.label(context) == SPACE.text(context)


@given(spaces())
@settings(max_examples=50)
def test_a_space_survives_json(space):
    again = ContextSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert np.array_equal(again.normalise(space.low), space.normalise(space.low))


@given(spaces(), st.data())
@settings(max_examples=80)
def test_normalising_is_undone_and_maps_the_training_range(space, data):
    units = np.array([data.draw(numbers(0.0, 1.0)) for _ in space])
    context = space.low + units * (space.high - space.low)
    scale = np.abs(space.low) + np.abs(space.high)
    assert np.allclose(
        space.denormalise(space.normalise(context)), context, rtol=1e-6, atol=1e-9 * scale.max()
    )
    assert np.allclose(space.normalise(space.train_low), -1.0)
    assert np.allclose(space.normalise(space.train_high), 1.0)


def test_normalising_is_the_closed_form_and_does_not_clip():
    found = SPACE.normalise([[1.5, 100.0, 1.0], [0.5, math.sqrt(5.0 * 75.0), -1.0]])
    beyond = 2 * math.log(100 / 5) / math.log(75 / 5) - 1
    assert np.allclose(found, [[2.0, beyond, 1.0], [-2.0, 0.0, -1.0]])


def test_what_a_mapping_leaves_out_is_default():
    assert SPACE.array({"density": 10}).tolist() == [1.0, 10.0, 1.0]
    assert SPACE.array(None).tolist() == [1.0, 5.0, 1.0]
    assert SPACE.parse(" sign = -1 , mass=0.6").tolist() == [0.6, 5.0, -1.0]


def test_an_array_that_is_returned_is_nobody_elses():
    SPACE.array()[:] = 9.0
    given = np.array([1.0, 5.0, 1.0])
    SPACE.array(given)[:] = 0.5
    assert given.tolist() == [1.0, 5.0, 1.0]
    assert SPACE.default.tolist() == [1.0, 5.0, 1.0]


def test_keys_tell_contexts_apart_but_not_roundings_of_one():
    assert SPACE.key([0.1 + 0.2 + 0.3, 5, 1]) == SPACE.key([0.6, 5, 1])
    assert SPACE.key([0.6, 5, 1]) != SPACE.key([0.60001, 5, 1])
    zero = ContextSpace([ContextParam("x", -1, 1, 0)])
    assert hash(zero.key([-0.0])) == hash(zero.key([0.0]))


def test_subsets_and_other_training_ranges():
    part = SPACE.subset(["sign", "mass"])
    assert part.names == ("sign", "mass")
    changed = SPACE.with_train({"mass": [0.9, 1.1]})
    assert changed.train_low.tolist() == [0.9, 5.0, -1.0]
    assert changed.low.tolist() == SPACE.low.tolist()
    assert SPACE["mass"].train == (0.75, 1.25)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({"mas": 1.0}, UnknownNameError),
        ({"mass": float("nan")}, NonFiniteError),
        ({"mass": float("inf")}, NonFiniteError),
        ({"mass": 1.500001}, BoundsError),
        ({"mass": 0.499999}, BoundsError),
        ({"sign": 0.0}, BoundsError),
        ({"mass": "1"}, ContextError),
        ({"mass": None}, ContextError),
        ({"mass": True}, ContextError),
        ([1.0, 5.0], ShapeError),
        ([[1.0, 5.0, 1.0]], ShapeError),
        ([1.0, 5.0, 1.0, 1.0], ShapeError),
        (1.0, ShapeError),
        (["1", "5", "1"], ContextError),
        ([1.0, [5.0], 1.0], ShapeError),
        ({"mass": 10**400}, NonFiniteError),
    ],
)
def test_wrong_contexts_are_refused(context, error):
    with pytest.raises(error):
        SPACE.array(context)


@pytest.mark.parametrize(
    "text", ["mass", "mass=", "mass=x", "mass=1,mass=1", "mas=1", "mass=nan", "mass:1", ""]
)
def test_wrong_texts_are_refused(text):
    with pytest.raises(HyperRLError):
        SPACE.parse(text)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "two words"}, "one word"),
        ({"low": 2.0}, "low below high"),
        ({"default": 3.0}, "default"),
        ({"train": (0.4, 1.0)}, "training range"),
        ({"train": (1.2, 0.9)}, "training range"),
        ({"train": (1.0, 1.0)}, "one point"),
        ({"train": (1.0,)}, "two numbers"),
        ({"train": 1.0}, "must be a list"),
        ({"choices": 1.0}, "must be a list"),
        ({"fields": None}, "must be a list"),
        ({"log": True, "low": 0.0}, "logarithms"),
        ({"choices": (1.0,)}, "two or more"),
        ({"choices": (1.0, 3.0)}, "two or more"),
        ({"choices": (0.5, 1.5)}, "default"),
        ({"op": "times"}, "unknown operation"),
        ({"level": "model"}, "unknown level"),
        ({"low": float("nan")}, "finite"),
        ({"high": "2"}, "number"),
        ({"fields": (1,)}, "names"),
    ],
)
def test_parameters_that_contradict_themselves_are_refused(values, sentence):
    with pytest.raises(HyperRLError, match=sentence):
        ContextParam(**{"name": "mass", "low": 0.5, "high": 1.5, **values})


def test_wrong_spaces_are_refused():
    with pytest.raises(ContextError, match="at least one"):
        ContextSpace(())
    with pytest.raises(ContextError, match="two parameters called 'mass'"):
        ContextSpace((MASS, MASS))
    with pytest.raises(UnknownNameError, match="did you mean 'mass'"):
        SPACE.subset(["mas"])
    with pytest.raises(ShapeError):
        SPACE.normalise([1.0, 2.0])
    with pytest.raises(NonFiniteError):
        SPACE.normalise([1.0, np.nan, 1.0])
    with pytest.raises(UnknownNameError, match="attribute of a context parameter"):
        ContextSpace.from_json([{**MASS.to_json(), "colour": 1}])
    with pytest.raises(ContextError, match="in this order"):
        SPACE.arrays([[1.0, 5.0, 1.0]], names=["density", "mass", "sign"])


def circle(**settings):
    angle = ContextParam("angle", 0.0, 2 * math.pi, 0.0, periodic=True, **settings)
    return ContextSpace((ContextParam("mass", 0.5, 1.5, train=(0.8, 1.2)), angle))


def test_an_angle_is_shown_as_a_place_on_a_circle():
    space = circle()
    contexts = np.array([[1.0, 0.0], [0.8, 1.0], [1.4, 2 * math.pi], [1.2, 5.0]])
    expected = [[0, 1, 0], [-1, math.cos(1), math.sin(1)], [2, 1, 0], [1, math.cos(5), math.sin(5)]]
    assert shown(space, contexts) == pytest.approx(np.array(expected), abs=1e-6)
    assert shown(space, contexts[3]) == pytest.approx(expected[3], abs=1e-6)
    assert np.array_equal(shown(space, contexts, "raw"), contexts.astype(np.float32))
    assert (shown_size(space), shown_size(space, "raw")) == (3, 2)
    low, high = shown_bounds(space)
    assert (low.tolist(), high.tolist()) == ([-2.5, -1, -1], [2.5, 1, 1])
    assert [bound.tolist() for bound in shown_bounds(space, "raw")] == [
        [0.5, 0],
        [1.5, np.float32(2 * np.pi)],
    ]
    # No two contexts look alike, and those on both sides of the cut do nearly.
    assert np.abs(shown(space, [1.0, 0.001]) - shown(space, [1.0, 2 * math.pi - 0.001])).max() < 0.003


def test_other_contexts_are_shown_as_they_are_normalised():
    space = ContextSpace(circle().params[:1])
    contexts = np.linspace(0.5, 1.5, 11)[:, None]
    assert np.array_equal(shown(space, contexts), space.normalise(contexts).astype(np.float32))


def test_distances_go_the_short_way_round():
    half = circle(train=(0.0, math.pi))
    one, other = Region.training(half).distance([[1.0, 2 * math.pi - 0.1], [1.0, math.pi + 0.3]])
    # The range of training, half a circle, is 2 wide.
    assert (one, other) == pytest.approx((0.1 * 2 / math.pi, 0.3 * 2 / math.pi))
    splits = make_splits(circle(), "points", points=[[1.0, 0.1], [1.0, 3.0]])
    found = splits.distance([[1.0, 2 * math.pi - 0.2], [1.0, 3.0], [1.0, 1.0]])
    assert found == pytest.approx(np.array([0.3, 0, 0.9]) / math.pi)


def test_periodic_parameters_go_through_json_and_have_no_logarithms():
    space = circle()
    assert ContextSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert "periodic" not in space.params[0].to_json()
    with pytest.raises(ContextError, match="angle is periodic and has no logarithms"):
        ContextParam("angle", 1.0, 2.0, log=True, periodic=True)
