"""What evaluations make of angles: experts between which others lie, the mean of directions, pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hyperrl.context import ContextParam, ContextSpace, make_splits
from hyperrl.evaluation.zero_shot.context_figure import _nearest, draw_contexts, draw_methods
from hyperrl.evaluation.zero_shot.plan import _mean_context
from hyperrl.evaluation.zero_shot.references import Expert, expected_returns

TURN = 2 * math.pi
ANGLE = ContextParam("angle", 0.0, TURN, 0.0, periodic=True)
SPACE = ContextSpace((ANGLE,))
PLANE = ContextSpace((ANGLE, ContextParam("mass", 0.5, 1.5)))


def experts(pairs):
    return [Expert((place,), value, 1, "here") for place, value in pairs]


def test_experts_expect_along_the_arc_across_the_ends():
    known = experts([(TURN - 1.0, 10.0), (1.0, 30.0)])
    asked = [TURN - 0.5, 0.0, TURN, 0.5, 1.5, TURN - 1.2, 1.0]
    found = expected_returns(known, SPACE, np.array(asked)[:, None])
    assert found.values == pytest.approx([15, 20, 20, 25, 30, 10, 30])
    assert found.kinds == (*["interpolated"] * 4, *["extrapolated"] * 2, "measured")
    around = expected_returns(experts([(0.0, 0.0), (2.0, 8.0), (4.0, 4.0)]), SPACE, np.array([[1.0], [5.0]]))
    assert around.values == pytest.approx([4.0, 4 * (1 - 1 / (TURN - 4))])
    assert around.kinds == ("interpolated",) * 2


def test_experts_of_several_parameters_are_weighed_the_short_way_round():
    known = [Expert((0.2, 1.0), 1.0, 1, "near"), Expert((3.0, 1.0), 0.0, 1, "far")]
    (found,) = expected_returns(known, PLANE, np.array([[TURN - 0.1, 1.0]])).values
    near, far = 0.3**-2, 3.1**-2
    assert found == pytest.approx(near / (near + far))


def test_the_mean_of_directions_lies_between_them():
    for points, mean in (([0.2, TURN - 0.6], TURN - 0.2), ([1.0, 2.0], 1.5), ([0.3, 0.5, TURN - 0.2], None)):
        (found,) = _mean_context(make_splits(SPACE, "points", points=[[point] for point in points]))
        if mean is None:
            mean = np.angle(np.exp(1j * np.array(points)).sum())
        assert found == pytest.approx(mean)


def test_pictures_go_on_across_the_ends():
    splits = make_splits(PLANE, "points", points=[[0.1, 1.0], [3.0, 1.0]])
    pixels = np.array([[[TURN - 0.2, 1.0], [2.0, 1.0], [4.0, 1.0]]])
    assert _nearest(splits, pixels, splits.points).tolist() == [[0, 1, 1]]
    splits = make_splits(SPACE, "points", points=[[1.0], [3.0], [5.0]], n_test=2)
    returns = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    for figure in (
        draw_contexts(splits, {"train": returns}),
        draw_methods(splits, {"a": {"train": returns}}),
    ):
        (axes,) = figure.axes
        line = next(line for line in axes.lines if len(line.get_xdata()) == 5)
        assert list(line.get_xdata()) == pytest.approx([5 - TURN, 1, 3, 5, 1 + TURN])
        assert list(line.get_ydata()) == [4, 1, 2, 4, 1]
        assert axes.get_xlim() == (0, TURN)
