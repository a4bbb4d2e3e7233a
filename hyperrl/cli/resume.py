"""`hyperrl resume`: continue a run from its last checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.config import parse_value
from hyperrl.errors import UsageError


@dataclass(frozen=True)
class ResumeArguments:
    """Continue a run that was stopped, killed or failed, or lengthen one that has ended.

    A run that has all of its steps is left as it is, with exit status 0. On the same machine the result is
    bit for bit what the run would have come to without the stop.
    """

    run: tyro.conf.Positional[Annotated[str, flag("DIR")]] = ""
    """The run's folder."""
    steps: Annotated[str | None, flag("N")] = None
    """A new length of the whole run, in environment steps (as configured)."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, or the run cannot be continued.
    """
    arguments = parse(ResumeArguments, argv, "resume")
    if not arguments.run:
        raise UsageError("resume needs the folder of a run, for example hyperrl resume runs/my-run")

    from hyperrl.cli.train import summary
    from hyperrl.train import resume

    steps = None if arguments.steps is None else parse_value(arguments.steps)
    run = resume(arguments.run, steps)
    if run.was_finished:
        print(f"note: the run has all of its {run.steps:,} steps: nothing was left to do", file=sys.stderr)
    print(summary(run))
    return 0
