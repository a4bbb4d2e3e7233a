"""`hyperrl compare`: methods beside each other in contexts that they were not trained in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table as Grid

from hyperrl.cli.arguments import flag, parse
from hyperrl.errors import UsageError

if TYPE_CHECKING:
    from hyperrl.evaluation.zero_shot.document import Table

_WIDTH = 160  # Of a table in a file or a pipe, which has no width of its own.


@dataclass(frozen=True)
class CompareArguments:
    """Compare the zero-shot evaluations of runs, which hyperrl evaluate RUN --split NAME has made.

    With --adaptation, compare how they adapt, which hyperrl adapt RUN --episodes K has measured. Runs whose
    settings differ in the seed alone are of one method.
    """

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], flag("DIR")]] = ()
    """The folders of the runs, several of each method."""
    adaptation: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare what the runs earn after 0, 1, ... episodes of data in tasks."""
    out: Annotated[str | None, flag("DIR")] = None
    """Folder for a report: report.html, report.md, report.json and pictures."""
    label: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], flag("NAME")]] = ()
    """What the method of a run is called, once for each run in their order."""
    experts: Annotated[str | None, flag("FILE.csv")] = None
    """A table with a column for each parameter of the context and "return", for normalised scores."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, or the runs cannot be compared.
    """
    arguments = parse(CompareArguments, argv, "compare")
    if len(arguments.runs) < 2:
        raise UsageError("compare needs the folders of two runs or more, for example hyperrl compare runs/*")
    if arguments.adaptation:
        _adaptations(arguments)
        return 0

    from hyperrl.compare import compare
    from hyperrl.evaluation.zero_shot.comparison import plan_of
    from hyperrl.evaluation.zero_shot.comparison_report import table_of
    from hyperrl.evaluation.zero_shot.run_report import interval_text

    result = compare(arguments.runs, arguments.out, labels=arguments.label, experts=arguments.experts)
    for name in plan_of(result.methods).names:
        _print(name, table_of(result.comparison, name))
    for one in result.comparison.improvements:
        print(f"{one.split}: {one.method} over {one.other} {interval_text(one.probability)}")
    if result.page is not None:
        print(result.page)
    return 0


def _adaptations(arguments: CompareArguments) -> None:
    if arguments.experts is not None:
        raise UsageError("--experts is for zero-shot evaluations: leave it out, or --adaptation")

    from hyperrl.compare import compare_adaptations
    from hyperrl.evaluation.adaptation.comparison import plan_of
    from hyperrl.evaluation.adaptation.comparison_report import table_of
    from hyperrl.evaluation.zero_shot.run_report import interval_text

    result = compare_adaptations(arguments.runs, arguments.out, labels=arguments.label)
    for name in plan_of(result.methods).names:
        _print(name, table_of(result.comparison, name))
    for one in result.comparison.improvements:
        probability = interval_text(one.probability)
        print(f"{one.split} after {one.episodes}: {one.method} over {one.other} {probability}")
    if result.page is not None:
        print(result.page)


def _print(name: str, table: Table) -> None:
    """Print the table of a set of contexts."""
    grid = Grid(title=f"{name}, with 95 % intervals", title_justify="left")
    for index, column in enumerate(table.head):
        grid.add_column(column, justify="right" if index else "left")
    for row in table.rows:
        grid.add_row(*row)
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(grid)
