"""Contexts on a circle, whose both ends are one place, and bounds that no decimal number says exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hyperrl.context import ContextParam, ContextSpace, Region, make_splits
from hyperrl.errors import BoundsError, ContextError

TURN = 2 * math.pi


def circle(**settings):
    return ContextSpace((ContextParam("angle", 0.0, TURN, 0.0, periodic=True, **settings),))


def is_on_arc(angle, begin, length):
    return (angle - begin) % TURN <= length


@pytest.mark.parametrize(
    ("points", "begin", "length"),
    [
        ([1.0, 2.5], 1.0, 1.5),
        ([0.1, 6.2], 6.2, 0.1 + TURN - 6.2),
        ([0.5, 5.9, 5.0, 0.1], 5.0, 0.5 + TURN - 5.0),
        ([2.0], 2.0, 0.0),
        ([0.0, 2.0, 4.0], 0.0, TURN),  # There is a trained one on each side of every place.
        ([0.0, math.pi], 0.0, TURN),
    ],
)
def test_the_bounding_box_of_angles_is_their_arc(points, begin, length):
    space = circle()
    region = Region.around(space, np.array(points)[:, None])
    angles = np.linspace(0.003, 6.28, 500)
    expected = [is_on_arc(angle, begin, length) for angle in angles]
    assert region.contains(angles[:, None]).tolist() == expected
    assert region.contains(np.array(points)[:, None]).all()
    splits = make_splits(space, "points", points=[[point] for point in points], n_test=20)
    inside = splits.tests.get("interpolation", np.zeros((0, 1)))[:, 0]
    outside = splits.tests.get("extrapolation", np.zeros((0, 1)))[:, 0]
    assert (len(inside), len(outside)) == (20 * (length > 0), 20 * (length < TURN))
    assert all(is_on_arc(angle, begin, length) for angle in inside)
    assert not any(is_on_arc(angle, begin, length) for angle in outside)


def test_a_box_around_points_has_an_arc_along_each_circle_and_plain_bounds_elsewhere():
    space = ContextSpace((ContextParam("mass", 0.5, 1.5), *circle().params))
    region = Region.around(space, np.array([[0.7, 6.0], [1.2, 0.2]]))
    assert region.boxes == (((0.7, 0.0), (1.2, 0.2)), ((0.7, 6.0), (1.2, TURN)))


def test_both_ends_of_a_circle_are_in_a_region_or_none_of_them():
    space = circle(train=(0.0, 1.0))
    ends = [[0.0], [TURN]]
    assert Region.training(space).contains(ends).tolist() == [True, True]
    assert Region.box(space, [1.0], [TURN]).contains(ends).tolist() == [True, True]
    assert Region.box(space, [1.0], [2.0]).contains(ends).tolist() == [False, False]
    assert space.key([TURN - 1e-12]) == space.key([TURN]) == space.key([0.0]) != space.key([TURN - 1e-6])


def test_choices_are_different_places():
    with pytest.raises(ContextError, match=r"choices 0 and 6.28319 of the context angle are one place"):
        circle(choices=(0.0, 1.0, TURN))
    assert len(circle(choices=(0.0, 1.0, 3.0))) == 1


def test_bounds_and_choices_can_be_given_as_they_are_written():
    third = 1 / 3
    space = ContextSpace(
        (
            ContextParam("factor", 1 / 1.5**3, 1.5**3, log=True),
            ContextParam("side", -2 * third, 2 * third, third, choices=(-2 * third, third, 2 * third)),
            *circle().params,
        )
    )
    for context in ([1 / 1.5**3, third, TURN], [1.5**3, -2 * third, 0.0], [1.0, 2 * third, math.pi]):
        text = space.text(context)
        assert space.text(space.parse(text)) == text
        assert space.key(space.parse(text)) == space.key(context)
    assert space.parse("factor=0.296296296,angle=6.28318531")[[0, 2]].tolist() == [1 / 1.5**3, TURN]
    assert space.array([0.296296296, 0.666666667, 1.0])[:2].tolist() == [1 / 1.5**3, 2 * third]
    narrow = space.with_train({"angle": [5, 6.28318531], "factor": [0.296296296, 1]})
    assert (narrow["angle"].train_high, narrow["factor"].train_low) == (TURN, 1 / 1.5**3)
    for text in ("factor=0.2962962", "angle=6.283186", "side=0.33333"):
        with pytest.raises(BoundsError):
            space.parse(text)
