import io
import subprocess
import sys

from rich.console import Console

from hyperrl.sweep.console import Lines, LiveTable, sentence, table
from hyperrl.sweep.records import RunRecord
from tests.sweep.small_sweeps import environment

STATES = {
    "run-a": RunRecord("finished", 1000, 12.3, -1234.5, 2.0),
    "run-b": RunRecord("waiting"),
    "run-c": RunRecord("running", 10, 0.1, -1.0, -1.0),
    "run-d": RunRecord("failed", 3, error="it is [red]NaN"),
}


def test_lines_are_for_events(capsys):
    lines = Lines()
    lines.refresh(STATES)
    lines.refresh(STATES)
    lines.began("run-b", STATES["run-b"])
    lines.began("run-c", STATES["run-c"])
    lines.ended("run-b", STATES["run-a"])
    lines.ended("run-d", STATES["run-d"])
    assert capsys.readouterr().out.splitlines() == [
        "4 runs, 1 of them finished before",
        "run-b begins",
        "run-c continues after 10 steps",
        "[2/4] run-b finished after 1,000 steps in 12 s, return -1,234.5 before, 2.0 after",
        "[2/4] run-d failed: it is [red]NaN",
    ]


def test_a_reader_that_is_gone_does_not_end_the_sweep():
    program = """
import sys
from hyperrl.sweep.console import Lines
from hyperrl.sweep.records import RunRecord
sys.stdin.read()
lines = Lines()
lines.refresh({})
lines.began("run", RunRecord("waiting"))
print("still here", file=sys.stderr)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == "still here\n"
    assert process.wait() == 0
    process.stderr.close()


def shown(room):
    console = Console(file=io.StringIO(), width=100)
    console.print(table(STATES, room))
    return console.file.getvalue()


def test_the_table_shows_first_what_matters_most():
    text = shown(10)
    order = [text.index(name) for name in ("run-c", "run-d", "run-a", "run-b")]
    assert order == sorted(order)
    assert "it is [red]NaN" in text
    assert "4 runs: 1 running, 1 failed, 1 finished, 1 waiting\n" in text
    assert "run-a" not in shown(2)
    assert "(2 not shown)" in shown(2)


def test_the_live_table_needs_no_thread():
    import threading

    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=20)
    before = threading.active_count()
    with LiveTable(console) as live:
        live.refresh(STATES)
        live.began("run-b", STATES["run-b"])
        live.ended("run-b", STATES["run-b"])
        assert threading.active_count() == before
    assert "run-c" in console.file.getvalue()


def test_what_is_said_of_a_stopped_run():
    assert sentence(RunRecord("stopped", 1200, 3.0, 1.0, 2.0)) == "stopped after 1,200 steps"
