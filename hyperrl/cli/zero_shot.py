"""`hyperrl zero-shot`: solve a family of tasks with experts, and learn policies for all from these."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.cli.listing import table
from hyperrl.config import parse_value
from hyperrl.errors import UsageError, unknown_name
from hyperrl.registry import agents

if TYPE_CHECKING:
    from hyperrl.sweep.control import SweepResult
    from hyperrl.zero_shot import Preparation
    from hyperrl.zero_shot_data import DatasetManifest

_TEXTS = ("env", "out", "preset", "device", "policy")
_NOT_SETTINGS = (
    *("expert", "dataset", "method", "config", "set", "tests", "episodes", "checkpoint"),
    *("workers", "retry", "dry_run", "print_config", "match_params"),
)
Settings = Annotated[tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]], flag("KEY=VALUE")]


@dataclass(frozen=True)
class PrepareArguments:
    """Train one expert for each task of a family, let them play, and write a data set.

    The same command continues what was stopped or killed. Tasks of the test sets get experts as a reference;
    what these do is kept apart and never learned from. The exit status is 1 if an expert failed.
    """

    env: Annotated[str, flag("ID")] = ""
    """Gymnasium id of the family; its contexts are settings such as --set env_kwargs.context=["speed"]."""
    out: Annotated[str, flag("DIR")] = ""
    """Folder of the data set: new, empty, or one that was begun."""
    expert: Annotated[str, flag("AGENT")] = "compiled-ppo"
    """What solves a task, see `hyperrl list agents`."""
    steps: Annotated[str | None, flag("N")] = None
    """Environment steps of each expert (1000000)."""
    seed: Annotated[str | None, flag("S")] = None
    """Seed of the first expert; the others take the numbers that follow (0)."""
    preset: Annotated[str | None, flag("NAME")] = None
    """One of the expert's presets (default)."""
    config: Annotated[str | None, flag("FILE.toml")] = None
    """Settings of the experts, in the form of a preset."""
    set: Settings = ()
    """Single settings of the experts or of the environment, in TOML."""
    n_envs: Annotated[str | None, flag("N")] = None
    """Environments that an expert steps together (1)."""
    normalize: tyro.conf.FlagCreatePairsOff[bool] = False
    """Let experts normalise observations and rewards."""
    episodes: Annotated[str, flag("N")] = "10"
    """Episodes that each expert plays."""
    checkpoint: Annotated[str, flag("best|latest|N")] = "best"
    """Which of an expert's checkpoints plays."""
    tests: Annotated[str | None, flag("NAME,NAME")] = None
    """Sets of test contexts that get experts, or none ("tasks" where there is such a set)."""
    workers: Annotated[str | None, flag("N")] = None
    """Experts side by side (as many as there are cores)."""
    retry: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue experts that failed before, too."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Check everything, print the tasks and stop."""


@dataclass(frozen=True)
class TrainArguments:
    """Learn from a data set and leave a run folder, whose path is printed last; steps are gradient steps."""

    dataset: tyro.conf.Positional[Annotated[str, flag("DIR")]] = ""
    """Folder of the data set."""
    method: Annotated[str, flag("NAME")] = "hyperzero"
    """hyperzero, hyperzero_no_td, hyperzero_no_q, context, uvfa, uvfa_td, maml or pearl."""
    match_params: tyro.conf.FlagCreatePairsOff[bool] = False
    """Give context, uvfa, uvfa_td and maml as many parameters as HyperZero has."""
    steps: Annotated[str | None, flag("N")] = None
    """Gradient steps (the preset's)."""
    seed: Annotated[str | None, flag("S")] = None
    """Seed of the run (0)."""
    out: Annotated[str | None, flag("DIR")] = None
    """Run folder, new or empty ($HYPERRL_RUNS or ./runs, then ENV/AGENT/TIME-sSEED)."""
    preset: Annotated[str | None, flag("NAME")] = None
    """One of the presets of hyper-zero (default)."""
    config: Annotated[str | None, flag("FILE.toml")] = None
    """Settings in the form of a preset or of a run's run.toml."""
    set: Settings = ()
    """Single settings, in TOML, such as rows_per_task=64 or env_kwargs.units=raw."""
    device: Annotated[str | None, flag("auto|cpu|cuda")] = None
    """Where the networks run (auto)."""
    threads: Annotated[str | None, flag("N")] = None
    """CPU threads of torch (1)."""
    eval_every: Annotated[str | None, flag("N")] = None
    """Steps between evaluations in contexts of training; 0 evaluates before and after only."""
    eval_episodes: Annotated[str | None, flag("N")] = None
    """Episodes of each evaluation (5)."""
    checkpoint_every: Annotated[str | None, flag("N")] = None
    """Steps between checkpoints."""
    print_config: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the resolved settings as TOML and stop."""


_USAGE = """usage: hyperrl zero-shot prepare --env ID --out DIR ... | train DIR ...

  prepare  train one expert for each task of a family and write what they do as a data set
  train    learn policies of all contexts from a data set: HyperZero and what it is compared with

hyperrl zero-shot prepare --help explains more."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status: 1 if an expert failed.

    Raises:
        HyperRLError: The arguments are wrong, a data set cannot be used, or a signal came.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    if argv[0] not in _PARTS:
        raise unknown_name("part of zero-shot", argv[0], _PARTS)
    form, run = _PARTS[argv[0]]
    status: int = run(parse(form, argv[1:], f"zero-shot {argv[0]}"))
    return status


def _prepare(arguments: PrepareArguments) -> int:
    if not arguments.env or not arguments.out:
        raise UsageError(
            "zero-shot prepare needs --env and --out, for example --env hyperrl/CheetahRun-v0 "
            "--out runs/tasks"
        )
    agents.module(arguments.expert)

    from hyperrl.presets import resolve
    from hyperrl.zero_shot import plan_preparation

    resolved = resolve(
        arguments.expert,
        _flags(arguments, without=("out",)),
        file=None if arguments.config is None else Path(arguments.config),
        settings=_settings(arguments.set),
    )
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr)
    preparation = plan_preparation(
        resolved.config,
        arguments.out,
        tests=None if arguments.tests is None else [name for name in arguments.tests.split(",") if name],
        episodes=parse_value(arguments.episodes),
        checkpoint=arguments.checkpoint,
    )
    if arguments.dry_run:
        rows = [("task", "split", "context")]
        rows += [(task.name, task.split, str(task.run.settings["context"])) for task in preparation.tasks]
        print(table(rows))
        return 0
    return _do(preparation, arguments)


def _do(preparation: Preparation, arguments: PrepareArguments) -> int:
    from hyperrl.sweep.console import Lines, LiveTable
    from hyperrl.sweep.engine import WORKERS, LocalEngine
    from hyperrl.zero_shot import record_experts, train_experts

    text = arguments.workers
    engine = LocalEngine(None if text is None else int(WORKERS.check("workers", parse_value(text))))
    with LiveTable() if sys.stdout.isatty() else Lines() as reporter:
        result = train_experts(preparation, engine, reporter, retry=arguments.retry)
    _tell_unfinished(result)
    manifest = record_experts(preparation)
    _tell(preparation, manifest)
    return 1 if result.unfinished else 0


def _tell_unfinished(result: SweepResult) -> None:
    for name, record in result.unfinished.items():
        print(f"hyperrl: the expert of {name} {record.status}: {record.error}", file=sys.stderr)
    if result.unfinished:
        print("hyperrl: the same command with --retry continues what failed", file=sys.stderr)


def _tell(preparation: Preparation, manifest: DatasetManifest) -> None:
    rows = [("task", "split", "context", "expert's return")]
    for task in manifest.tasks:
        context = manifest.space.text(task.context)
        rows.append((task.name, task.split, context, f"{task.mean_return:.1f}"))
    print(table(rows))
    done = f"{len(manifest.tasks)} of {len(preparation.tasks)} tasks"
    print(f"\n{done}\nnext: hyperrl zero-shot train {preparation.folder}\n\n{preparation.folder}")


def _train(arguments: TrainArguments) -> int:
    if not arguments.dataset:
        raise UsageError("zero-shot train needs the folder of a data set, which zero-shot prepare makes")

    from hyperrl.cli.train import summary
    from hyperrl.train import check, train
    from hyperrl.zero_shot import configure

    flags = _flags(arguments)
    if arguments.match_params:
        flags["agent_kwargs"] = {"policy_kwargs": {"match_params": True}}
    config = configure(
        arguments.dataset,
        arguments.method,
        flags,
        file=None if arguments.config is None else Path(arguments.config),
        settings=_settings(arguments.set),
    )
    if arguments.print_config:
        check(config)
        print(config.to_toml(), end="")
        return 0
    print(summary(train(config)))
    return 0


def _settings(groups: Sequence[Sequence[str]]) -> list[str]:
    return [setting for group in groups for setting in group]


def _flags(arguments: PrepareArguments | TrainArguments, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings given by flags, numbers read."""
    flags: dict[str, Any] = {}
    for field in fields(arguments):
        value = getattr(arguments, field.name)
        if value is None or value is False or field.name in (*_NOT_SETTINGS, *without):
            continue
        flags[field.name] = value if field.name in _TEXTS or value is True else parse_value(value)
    return flags


_PARTS: dict[str, tuple[type[Any], Any]] = {
    "prepare": (PrepareArguments, _prepare),
    "train": (TrainArguments, _train),
}
