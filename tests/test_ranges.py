import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperrl.errors import ConfigError
from hyperrl.ranges import Range, above, between, whole


@pytest.mark.parametrize(
    ("allowed", "text"),
    [
        (whole(1), "a whole number of at least 1"),
        (whole(0, 2**32 - 1), "a whole number from 0 to 4294967295"),
        (above(0), "a number above 0"),
        (above(0, 1), "a number above 0 and at most 1"),
        (between(0, 0.5), "a number from 0 to 0.5"),
        (between(0), "a number of at least 0"),
        (Range(-math.inf), "a number that is finite"),
    ],
)
def test_a_range_describes_itself(allowed, text):
    assert allowed.describe() == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, True, [1], 1j])
@pytest.mark.parametrize("allowed", [whole(0), above(0), between(-5, 5), Range(-math.inf)])
def test_what_is_no_finite_number_is_refused(allowed, value):
    with pytest.raises(ConfigError, match="x must be a"):
        allowed.check("x", value)


@pytest.mark.parametrize(
    ("allowed", "value"),
    [
        (whole(1), 0),
        (whole(1), 1.5),
        (whole(1, 3), 4),
        (above(0), 0),
        (above(0, 1), 1.0001),
        (between(0), -1e-9),
    ],
)
def test_what_is_out_of_range_is_refused(allowed, value):
    with pytest.raises(ConfigError, match="got"):
        allowed.check("x", value)


def test_a_whole_number_may_be_written_as_a_float():
    value = whole(1).check("steps", 1e6)
    assert value == 1_000_000
    assert isinstance(value, int)


def test_numbers_of_numpy_become_plain_ones():
    assert type(whole(0).check("x", np.int64(3))) is int
    assert type(between(0).check("x", np.float32(0.5))) is float


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-100, 100), st.floats(0, 100))
def test_check_agrees_with_the_definition(value, low, size):
    for allowed, right in (
        (between(low, low + size), low <= value <= low + size),
        (above(low, low + size), low < value <= low + size),
        (whole(low, low + size), low <= value <= low + size and value == int(value)),
    ):
        if right:
            assert allowed.check("x", value) == value
        else:
            with pytest.raises(ConfigError):
                allowed.check("x", value)
