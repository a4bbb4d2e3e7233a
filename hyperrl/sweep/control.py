"""Doing the runs of a sweep that are not finished, several side by side, until all are or a signal comes."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from hyperrl.errors import HyperRLError, RunStoppedError
from hyperrl.run.folder import RunFolder
from hyperrl.run.signals import EXIT_STATUS, StopSignals
from hyperrl.sweep import records
from hyperrl.sweep.engine import Ended, Engine
from hyperrl.sweep.folder import SweepFolder
from hyperrl.sweep.plan import Plan, PlannedRun
from hyperrl.sweep.records import RunRecord, last_line, read_record, settle_log

_LOOK_SECONDS = 0.1
_REFRESH_SECONDS = 2.0
# A child that is asked to stop before it has come to its handlers ends in this way.
_STOPPED = {*EXIT_STATUS.values(), -signal.SIGTERM}


class Reporter(Protocol):
    """Who is told what happens."""

    def began(self, name: str, record: RunRecord) -> None:
        """Hear that a run begins or continues, and from where."""

    def ended(self, name: str, record: RunRecord) -> None:
        """Hear that a run has ended, and how."""

    def refresh(self, states: dict[str, RunRecord]) -> None:
        """Hear every few seconds how far all runs are."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to.

    Attributes:
        folder: Its folder.
        records: How far each run is, by name.
    """

    folder: SweepFolder
    records: dict[str, RunRecord]

    @property
    def unfinished(self) -> dict[str, RunRecord]:
        """The runs that failed, or that somebody stopped, by name."""
        return {name: one for name, one in self.records.items() if one.status != records.FINISHED}


def run_sweep(
    plan: Plan, folder: SweepFolder, engine: Engine, reporter: Reporter, *, retry: bool = False
) -> SweepResult:
    """Do all runs that are not finished; those that were interrupted continue from their last checkpoints.

    Args:
        plan: The runs.
        folder: Where they lie. One process at a time works there.
        engine: What does them; it is closed at the end.
        reporter: Who is told what happens.
        retry: Whether runs that failed before are continued, too.

    Returns:
        How far each run is. A run that fails does not keep the others from going on.

    Raises:
        RunStoppedError: A signal stopped the sweep; its runs have saved what they reached.
        RunFolderError: The folder is in use, cannot be written, or is not seen by all machines.
        ConfigError: The plan contradicts what lies in the folder; nothing has been started.
    """
    with contextlib.closing(engine):
        missing = folder.make()
        begun = False
        try:
            with folder.locked(plan):
                engine.check_folder(folder.path)
                folder.write_plan(plan)
                begun = True
                with StopSignals() as signals:
                    return _Sweep(plan, folder, engine, reporter, retry).run(signals)
        finally:
            if not begun:
                engine.close()
                folder.unmake(missing)


class _Sweep:
    """The state of a sweep while it runs."""

    def __init__(
        self, plan: Plan, folder: SweepFolder, engine: Engine, reporter: Reporter, retry: bool
    ) -> None:
        self._plan, self._folder, self._engine, self._reporter = plan, folder, engine, reporter
        self._runs = {run.name: run for run in plan.runs}
        self._alive: set[str] = set()
        self._records = {name: read_record(folder.run(run)) for name, run in self._runs.items()}
        done = {records.FINISHED} if retry else {records.FINISHED, records.FAILED}
        self._waiting = deque(name for name, one in self._records.items() if one.status not in done)
        self._next_refresh = 0.0

    def run(self, signals: StopSignals) -> SweepResult:
        for run in self._runs.values():
            settle_log(self._folder.run(run))
        self._refresh(now=True)
        stopping = False
        while self._waiting or self._engine.running():
            if signals.received is not None and not stopping:
                stopping = True
                self._waiting.clear()
                self._engine.stop()
            while self._waiting and self._engine.has_room():
                self._start(self._runs[self._waiting.popleft()])
            for ended in self._engine.ended():
                self._end(ended)
            self._refresh()
            time.sleep(_LOOK_SECONDS)
        self._refresh(now=True)
        if stopping and signals.received is not None:
            raise self._stopped(signals.received)
        return SweepResult(self._folder, self._records)

    def _start(self, run: PlannedRun) -> None:
        self._engine.start(run.name, self._folder.config(run))
        self._alive.add(run.name)
        self._reporter.began(run.name, self._records[run.name])

    def _end(self, ended: Ended) -> None:
        self._alive.discard(ended.name)
        if ended.status is None and not ended.problem:
            self._records[ended.name] = read_record(self._folder.run(self._runs[ended.name]))
            return  # It was never begun, because the sweep is being stopped.
        path = self._folder.run(self._runs[ended.name])
        log = settle_log(path)
        record = read_record(path)
        if ended.status == 0:
            record = replace(record, status=records.FINISHED, error="")
        elif ended.status in _STOPPED:
            record = replace(record, status=records.STOPPED)
        else:
            record = replace(record, status=records.FAILED, error=_problem(ended, log))
            _mark_failed(path, record)
        self._records[ended.name] = record
        self._reporter.ended(ended.name, record)
        self._folder.write_table(self._plan, self._records)

    def _refresh(self, now: bool = False) -> None:
        if not now and time.monotonic() < self._next_refresh:
            return
        self._next_refresh = time.monotonic() + _REFRESH_SECONDS
        for name in self._alive:
            self._records[name] = read_record(self._folder.run(self._runs[name]), alive=True)
        self._folder.write_table(self._plan, self._records)
        self._reporter.refresh(self._records)

    def _stopped(self, name: str) -> RunStoppedError:
        finished = sum(one.status == records.FINISHED for one in self._records.values())
        done = f"{finished} of {len(self._records)} runs finished"
        stop = RunStoppedError(f"stopped by {name} with {done}; the same command continues")
        stop.exit_status = EXIT_STATUS[name]
        return stop


def _problem(ended: Ended, log: Path) -> str:
    """Say in one sentence why a run has failed."""
    if ended.problem:
        return ended.problem
    if ended.status is not None and ended.status < 0:
        killer = signal.Signals(-ended.status).name
        return f"its process was ended by {killer}" + (
            ", perhaps for want of memory" if killer == "SIGKILL" else ""
        )
    return last_line(log) or f"its process ended with the exit status {ended.status}"


def _mark_failed(path: Path, record: RunRecord) -> None:
    """Let the run's folder say that it failed, unless another process works there or it says so already."""
    folder = RunFolder(path)
    with contextlib.suppress(HyperRLError, OSError):
        if read_record(path).status in (records.WAITING, records.FAILED):
            return
        with folder.lock:
            folder.set_status("failed", record.steps, record.error)
