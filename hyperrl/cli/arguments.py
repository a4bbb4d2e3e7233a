"""Parsing a verb's arguments with tyro, and saying in one sentence what was wrong with them."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro

from hyperrl.errors import UsageError

Arguments = TypeVar("Arguments")


def flag(metavar: str) -> Any:
    """Return how an argument appears in the help, for `typing.Annotated`.

    Args:
        metavar: What stands for its value.
    """
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def parse(form: Callable[..., Arguments], argv: Sequence[str], verb: str) -> Arguments:
    """Parse the arguments of a verb.

    Args:
        form: A dataclass with one field for each argument.
        argv: The arguments.
        verb: The verb, for messages and help.

    Returns:
        The form, filled in. `--help` prints the help and exits with 0, as tyro does.

    Raises:
        UsageError: The arguments do not fit the form.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(form, args=list(argv), prog=f"hyperrl {verb}")
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(f"{_sentence(complaint.getvalue())}; see hyperrl {verb} --help") from None


def _sentence(box: str) -> str:
    """Take the first part of tyro's error box, and the first of its suggestions.

    Where the terminal has Unicode the heading is part of the frame; elsewhere it is a part of its own.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    framed = plain.lstrip().startswith("╭")
    lines = [line.strip(" │") for line in plain.splitlines() if not line.startswith(("╭", "╰"))]
    parts = [" ".join(part.split()) for part in re.split(r"[-─]{5,}", " ".join(lines))]
    if not framed:
        del parts[0]
    sentence = parts[0].rstrip(".") if parts and parts[0] else "the arguments cannot be understood"
    sentence = sentence[0].lower() + sentence[1:]
    for part in parts[1:]:
        if not part.startswith("Perhaps you meant"):
            continue
        suggestion = re.search(r"(?<!\S)--?[a-z][\w-]*", part)
        if suggestion is not None:
            return f"{sentence}, did you mean {suggestion.group()}?"
    return sentence


def parse_architecture(text: str) -> list[int] | None:
    """Read the widths of hidden layers, None where there is no text.

    Args:
        text: For example "16,16".

    Raises:
        UsageError: It is none.
    """
    if not text:
        return None
    words = text.strip("[]()").replace("x", ",").split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--architecture must be widths such as 16,16, got {text!r}")
    return [int(word) for word in words]
