"""`hyperrl sweep`: do all runs of a grid of settings, here or on a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.cli.listing import table
from hyperrl.config import parse_value
from hyperrl.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from hyperrl.sweep.engine import Engine
    from hyperrl.sweep.folder import SweepFolder
    from hyperrl.sweep.plan import Plan

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class SweepArguments:
    """Do all runs of a grid of settings, several side by side, with one thread each.

    The same command continues a sweep that was stopped or killed: finished runs stay, the others go on from
    their last checkpoints. The exit status is 1 if a run failed.
    """

    file: tyro.conf.Positional[Annotated[str, flag("FILE.toml|DIR")]] = ""
    """The settings of all runs and the grid, see the README; or the folder of a sweep, to continue it."""
    out: Annotated[str | None, flag("DIR")] = None
    """The sweep's folder ($HYPERRL_RUNS or ./runs, then sweeps/NAME, after the file's name)."""
    workers: Annotated[str | None, flag("N")] = None
    """Runs side by side (as many as there are cores, of this machine or of the cluster)."""
    engine: Annotated[str, flag("local|ray")] = "local"
    """Processes of this machine, or a Ray cluster that runs already."""
    ray_address: Annotated[str | None, flag("HOST:PORT")] = None
    """The cluster ($RAY_ADDRESS, or the one that this machine belongs to)."""
    retry: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue runs that failed before, too."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Check everything, print the runs and stop."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status: 1 if a run failed.

    Raises:
        HyperRLError: The arguments or the file are wrong, a cluster cannot be reached, or a signal came.
    """
    arguments = parse(SweepArguments, argv, "sweep")
    if not arguments.file:
        raise UsageError("sweep needs a file, for example hyperrl sweep study.toml")
    if arguments.engine not in ENGINES:
        raise unknown_name("engine", arguments.engine, ENGINES)
    if arguments.ray_address is not None and arguments.engine != "ray":
        raise UsageError("--ray-address is for --engine ray alone")
    workers = _workers(arguments.workers)

    from hyperrl.sweep.plan import read_plan

    plan = read_plan(arguments.file)
    for note in plan.notes:
        print(f"note: {note}", file=sys.stderr)
    folder = _folder(arguments, plan)
    folder.refuse_other(plan)
    if arguments.dry_run:
        return _list(plan, folder)
    return _do(plan, folder, _engine(arguments, workers), arguments.retry)


def _workers(text: str | None) -> int | None:
    from hyperrl.sweep.engine import WORKERS

    return None if text is None else int(WORKERS.check("workers", parse_value(text)))


def _folder(arguments: SweepArguments, plan: Plan) -> SweepFolder:
    from pathlib import Path

    from hyperrl.sweep.folder import SweepFolder

    if arguments.out is not None:
        return SweepFolder(arguments.out)
    given = Path(arguments.file).expanduser()
    return SweepFolder(given) if given.is_dir() else SweepFolder.default(plan)


def _engine(arguments: SweepArguments, workers: int | None) -> Engine:
    if arguments.engine == "ray":
        from hyperrl.sweep.cluster import RayEngine

        return RayEngine(arguments.ray_address, workers)
    from hyperrl.sweep.engine import LocalEngine

    return LocalEngine(workers)


def _list(plan: Plan, folder: SweepFolder) -> int:
    from hyperrl.sweep.records import read_record

    rows = [("run", "status", "steps")]
    for run in plan.runs:
        record = read_record(folder.run(run))
        rows.append((run.name, record.status, f"{record.steps:,} of {run.config.steps:,}"))
    print(table(rows))
    print(f"{len(plan.runs)} runs, in {folder.path}")
    return 0


def _do(plan: Plan, folder: SweepFolder, engine: Engine, retry: bool) -> int:
    from hyperrl.sweep.console import Lines, LiveTable
    from hyperrl.sweep.control import run_sweep
    from hyperrl.sweep.records import FAILED, settle_log

    with LiveTable() if sys.stdout.isatty() else Lines() as reporter:
        result = run_sweep(plan, folder, engine, reporter, retry=retry)
    for name, record in result.unfinished.items():
        why = (
            f"failed: {record.error}; see {settle_log(folder.path / name)}"
            if record.status == FAILED
            else (f"is {record.status} after {record.steps:,} steps; the same command continues it")
        )
        print(f"hyperrl: {name} {why}", file=sys.stderr)
    if any(record.status == FAILED for record in result.unfinished.values()):
        print("hyperrl: the same command with --retry continues what failed", file=sys.stderr)
    done = len(result.records) - len(result.unfinished)
    print(f"{done} of {len(result.records)} runs finished\n\n{folder.path}")
    return 1 if result.unfinished else 0
