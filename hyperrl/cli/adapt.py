"""`hyperrl adapt`: how fast an agent adapts to tasks, and the policy that it has there in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.config import parse_value
from hyperrl.errors import UsageError

if TYPE_CHECKING:
    from hyperrl.adapt import Adapted

_OF_CURVES = ("split", "seeds", "envs", "again")
_OF_EXPORTS = ("out", "overwrite")


@dataclass(frozen=True)
class AdaptArguments:
    """Let an agent adapt to tasks, and write what it earns after 0, 1, ... K episodes to DIR/eval/adaptation.

    What was played before is not played again: the same command continues a stopped one. With --export, adapt
    to one task and write its policy as hyperrl export does, and nothing else.
    """

    run: tyro.conf.Positional[Annotated[str, flag("DIR")]] = ""
    """The run's folder; its agent can adapt."""
    episodes: Annotated[str, flag("K")] = ""
    """Episodes of data in each task."""
    task: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], flag("NAME=VALUE,...")]] = ()
    """A task; give it several times for several."""
    split: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], flag("NAME")]] = ()
    """A declared set of tasks; several times for several (all sets of tests, unless --task is given)."""
    eval_episodes: Annotated[str, flag("E")] = ""
    """Episodes without exploration after each number of episodes of data (5); with --export, episodes that
    what was exported plays, for the manifest (0)."""
    seed: Annotated[str, flag("S")] = "0"
    """Seed of the episodes (0)."""
    seeds: Annotated[str, flag("S,S,...")] = ""
    """Several seeds, instead of --seed: for each, every task is adapted to from nothing."""
    checkpoint: Annotated[str, flag("latest|best|STEPS")] = "latest"
    """Which weights (latest)."""
    envs: Annotated[str, flag("N")] = ""
    """Tasks that are played side by side (64)."""
    again: tyro.conf.FlagCreatePairsOff[bool] = False
    """Play even what was played before."""
    report_only: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the report of an earlier evaluation anew, and play nothing."""
    export: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], flag("c99|crazyflie|onnx|torch|npz")]] = ()
    """Write the adapted policy of one --task in this format; several with commas, or given several times."""
    out: Annotated[str, flag("DIR")] = ""
    """The folder to write, with --export (RUN/export/FORMAT-ARCHITECTURE-TASK-after-K)."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an artefact that is there already, with --export."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, the agent cannot adapt, or its policy cannot be exported.
    """
    arguments = parse(AdaptArguments, argv, "adapt")
    if not arguments.run:
        raise UsageError(
            "adapt needs the folder of a run, for example hyperrl adapt runs/my-run --episodes 3"
        )
    if arguments.report_only:
        _report_only(arguments)
        return 0
    if not arguments.episodes:
        raise UsageError("adapt needs a number of episodes of data, for example --episodes 3")
    for name in ("task", "split"):
        if not all(text.strip() for text in getattr(arguments, name)):
            example = "--task direction=-1" if name == "task" else "--split tasks"
            raise UsageError(f"--{name} needs a value, for example {example}")
    if arguments.export:
        _export(arguments)
        return 0
    if arguments.seeds and arguments.seed != AdaptArguments.seed:
        raise UsageError("--seed and --seeds say the same: give one of them")
    for name in _OF_EXPORTS:
        if getattr(arguments, name):
            raise UsageError(f"--{name} needs --export, for example --export c99")

    from hyperrl.adapt import adapt

    options: dict[str, Any] = {"envs": parse_value(arguments.envs)} if arguments.envs else {}
    result = adapt(
        arguments.run,
        parse_value(arguments.episodes),
        tasks=arguments.task,
        splits=arguments.split,
        eval_episodes=parse_value(arguments.eval_episodes or "5"),
        seeds=[parse_value(seed) for seed in (arguments.seeds or arguments.seed).strip("[]").split(",")],
        checkpoint=arguments.checkpoint,
        again=arguments.again,
        **options,
    )
    _show(result)
    return 0


def _report_only(arguments: AdaptArguments) -> None:
    from hyperrl.adapt import report_adaptation

    if arguments != AdaptArguments(run=arguments.run, report_only=True):
        raise UsageError("--report-only plays nothing: it takes the folder alone")
    _show(report_adaptation(arguments.run))


def _export(arguments: AdaptArguments) -> None:
    if len(arguments.task) != 1:
        raise UsageError(
            f"--export writes the policy of one task: give one --task, got {len(arguments.task)}"
        )
    for name in _OF_CURVES:
        if getattr(arguments, name):
            raise UsageError(f"--{name} is not for --export, which adapts to one task with one --seed")

    from hyperrl.adapt import adapted_policy
    from hyperrl.cli.export import show_exported
    from hyperrl.export import check_formats, export

    formats = [name for text in arguments.export for name in text.split(",") if name]
    check_formats(formats)
    seed = parse_value(arguments.seed)
    adapted = adapted_policy(
        arguments.run,
        arguments.task[0],
        parse_value(arguments.episodes),
        seed=seed,
        checkpoint=arguments.checkpoint,
    )
    print(f"returns of the episodes of data: {', '.join(f'{one:.1f}' for one in adapted.returns)}")
    exported = export(
        arguments.run,
        formats,
        out=arguments.out or None,
        checkpoint=arguments.checkpoint,
        episodes=parse_value(arguments.eval_episodes or "0"),
        seed=seed,
        overwrite=arguments.overwrite,
        adapted=adapted,
    )
    for one in exported:
        show_exported(one)


def _show(result: Adapted) -> None:
    """Print the statistics of the sets of tasks, and where the report is."""
    from hyperrl.evaluation.adaptation.run_report import headline

    subject, plan = result.results.subject, result.results.plan
    print(f"{subject.agent} on {subject.env}, checkpoint {subject.checkpoint} after {subject.steps:,} steps")
    print(
        f"{plan.episodes} episodes of data and {plan.evaluations} evaluation episodes after each, "
        f"{result.simulated:,} adaptations played now; 95 % bootstrap intervals:"
    )
    for one in result.summary.sets:
        print(headline(one))
    print(result.page)
