import io
import sys
from dataclasses import dataclass

import pytest
import tyro

from hyperrl.cli.arguments import parse
from hyperrl.errors import UsageError


@dataclass(frozen=True)
class Form:
    """Does something."""

    what: tyro.conf.Positional[str]
    """What."""
    number: int = 3
    """How many."""


@pytest.fixture(params=["utf-8", "ascii"])
def terminal(request, monkeypatch):
    """Let standard output have an encoding, which decides how tyro draws its boxes."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=request.param))


def test_arguments_fill_the_form():
    assert parse(Form, ["x", "--number", "4"], "do") == Form("x", 4)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (
            ["x", "--numbr", "4"],
            "unrecognized options: --numbr, 4, did you mean --number?; see hyperrl do --help",
        ),
        (["x", "y"], "unrecognized options: y; see hyperrl do --help"),
        (["x", "--number"], "missing value for argument"),
        (["x", "--number", "many"], "--number: invalid literal for int"),
        ([], "missing from hyperrl do: "),
    ],
)
def test_what_does_not_fit_is_one_sentence(argv, sentence):
    with pytest.raises(UsageError) as caught:
        parse(Form, argv, "do")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "----" not in str(caught.value)
