"""What a sweep shows: a table that is kept up to date on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hyperrl.sweep import records
from hyperrl.sweep.records import RunRecord

# In the order in which they matter to whoever looks.
_ORDER = (
    records.RUNNING,
    records.FAILED,
    records.STOPPED,
    records.INTERRUPTED,
    records.FINISHED,
    records.WAITING,
)
_STYLES = {records.RUNNING: "cyan", records.FAILED: "red", records.FINISHED: "green"}


class Lines:
    """Prints one line when a run begins and one when it ends."""

    def __init__(self) -> None:
        self._count = -1
        self._finished = 0
        self._readable = True

    def __enter__(self) -> Lines:
        """Do nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    def began(self, name: str, record: RunRecord) -> None:
        """Print a line, see `hyperrl.sweep.control.Reporter`."""
        how = f"continues after {record.steps:,} steps" if record.steps else "begins"
        self._say(f"{name} {how}")

    def ended(self, name: str, record: RunRecord) -> None:
        """Print a line, see `hyperrl.sweep.control.Reporter`."""
        self._finished += record.status == records.FINISHED
        self._say(f"[{self._finished}/{self._count}] {name} {sentence(record)}")

    def refresh(self, states: Mapping[str, RunRecord]) -> None:
        """Say once how much there is to do; later lines are for events."""
        if self._count < 0:
            self._count = len(states)
            self._finished = sum(record.status == records.FINISHED for record in states.values())
            self._say(f"{self._count} runs, {self._finished} of them finished before")

    def _say(self, line: str) -> None:
        if not self._readable:
            return
        try:
            print(line, flush=True)
        except OSError:
            # Whoever read it is gone: no reason to end hours of runs, nor for Python to complain at the end.
            self._readable = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LiveTable:
    """Shows the runs in a table that changes in place.

    Args:
        console: Where to show it; the terminal by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        # Without a thread of its own: processes are started from this one.
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> LiveTable:
        """Begin."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last table on the screen."""
        self._live.stop()

    def began(self, name: str, record: RunRecord) -> None:
        """Do nothing: the table shows it soon."""

    def ended(self, name: str, record: RunRecord) -> None:
        """Do nothing: the table shows it soon."""

    def refresh(self, states: Mapping[str, RunRecord]) -> None:
        """Show how far all runs are, see `hyperrl.sweep.control.Reporter`."""
        # The frame, the heading and the lines around the table take six.
        room = max(self._console.size.height - 6, 1)
        self._live.update(table(states, room), refresh=True)


def table(states: Mapping[str, RunRecord], room: int) -> Group:
    """Return a table of the runs, with a line of totals.

    Args:
        states: How far each run is, by name.
        room: How many rows there may be; those that matter most are shown.
    """
    counts = Counter(record.status for record in states.values())
    shown = sorted(states.items(), key=lambda item: _ORDER.index(item[1].status))[:room]
    grid = Table()
    for heading in ("run", "status", "steps", "first return", "last return", "error"):
        right = heading in ("steps", "first return", "last return")
        grid.add_column(heading, justify="right" if right else "left", no_wrap=heading != "error")
    for name, record in shown:
        status = Text(record.status, style=_STYLES.get(record.status, ""))
        numbers = (_number(record.first_return), _number(record.last_return))
        grid.add_row(Text(name), status, f"{record.steps:,}", *numbers, Text(record.error))
    totals = ", ".join(f"{counts[status]} {status}" for status in _ORDER if counts[status])
    hidden = f" ({len(states) - len(shown)} not shown)" if len(shown) < len(states) else ""
    return Group(grid, Text(f"{len(states)} runs: {totals}{hidden}"))


def sentence(record: RunRecord) -> str:
    """Return what to say about a run that has ended.

    Args:
        record: How it ended.
    """
    if record.status == records.FAILED:
        return f"failed: {record.error}"
    text = f"{record.status} after {record.steps:,} steps"
    if record.seconds is not None and record.status == records.FINISHED:
        before, after = _number(record.first_return), _number(record.last_return)
        text += f" in {record.seconds:.0f} s, return {before} before, {after} after"
    return text


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
