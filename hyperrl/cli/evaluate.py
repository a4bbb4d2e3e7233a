"""`hyperrl evaluate`: measure the policy of a run on new episodes, or in contexts that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hyperrl.cli.arguments import flag, parse, parse_architecture
from hyperrl.config import parse_value
from hyperrl.errors import UsageError

if TYPE_CHECKING:
    from hyperrl.evaluate import ZeroShot

# What only an evaluation in contexts has, and what only one without them has.
_OF_CONTEXTS = ("seeds", "ablation", "experts", "envs", "again")


@dataclass(frozen=True)
class EvaluateArguments:
    """Play deterministic episodes with seeds that the run has not used, and write DIR/eval/episodes.csv.

    With --split, play episodes in each context of sets of contexts, and write a table of them and a report to
    DIR/eval/zero-shot. What was played before is not played again: the same command continues a stopped one.
    """

    run: tyro.conf.Positional[Annotated[str, flag("DIR")]] = ""
    """The run's folder."""
    split: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], flag("NAME")]] = ()
    """A set of contexts, such as train, interpolation or extrapolation; give it several times for several."""
    episodes: Annotated[str, flag("K")] = ""
    """How many episodes (20); with --split, in each context for each seed (10)."""
    seed: Annotated[str, flag("S")] = "0"
    """Seed of this evaluation (0)."""
    seeds: Annotated[str, flag("S,S,...")] = ""
    """Seeds of an evaluation with --split, instead of --seed."""
    checkpoint: Annotated[str, flag("latest|best|STEPS")] = "latest"
    """Which weights (latest)."""
    architecture: Annotated[str, flag("16,16")] = ""
    """Which policy, by its hidden widths, of an agent that has several (the largest)."""
    ablation: Annotated[str, flag("shuffled,mean|none")] = ""
    """Which wrong contexts the policy is told besides, with --split (both, where it sees the context)."""
    experts: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], flag("DIR|FILE.csv")]] = ()
    """A run of one context, or a table with a column for each parameter and "return", for normalised scores
    with --split; several times for several."""
    envs: Annotated[str, flag("N")] = ""
    """Episodes that are played side by side, with --split (64)."""
    again: tyro.conf.FlagCreatePairsOff[bool] = False
    """Play even what was played before, with --split."""
    report_only: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the report of an earlier evaluation with --split anew, and play nothing."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, or the run cannot be evaluated.
    """
    arguments = parse(EvaluateArguments, argv, "evaluate")
    if not arguments.run:
        raise UsageError("evaluate needs the folder of a run, for example hyperrl evaluate runs/my-run")
    if arguments.report_only or arguments.split:
        _zero_shot(arguments)
        return 0
    for name in _OF_CONTEXTS:
        if getattr(arguments, name):
            raise UsageError(f"--{name} needs --split, for example --split train --split extrapolation")

    from hyperrl.evaluate import evaluate

    result = evaluate(
        arguments.run,
        parse_value(arguments.episodes or "20"),
        seed=parse_value(arguments.seed),
        checkpoint=arguments.checkpoint,
        architecture=parse_architecture(arguments.architecture),
    )
    config = result.folder.config()
    print(f"{config.agent} on {config.env}, checkpoint {result.checkpoint} after {result.steps:,} steps")
    if result.architecture:
        print(f"architecture {','.join(map(str, result.architecture))}")
    print(f"{len(result.episodes)} episodes, return with 95 % bootstrap interval:")
    for name, interval in (("mean", result.mean), ("IQM", result.iqm)):
        print(f"  {name:<4}  {interval.estimate:10.1f}  [{interval.low:.1f}, {interval.high:.1f}]")
    if result.file is not None:
        print(result.file)
    return 0


def _zero_shot(arguments: EvaluateArguments) -> None:
    if arguments.architecture:
        raise UsageError("--architecture is not for --split, which evaluates the policy that predict takes")

    from hyperrl.evaluate import evaluate_zero_shot, report_zero_shot

    if arguments.report_only:
        if arguments.split or any(getattr(arguments, name) for name in _OF_CONTEXTS):
            raise UsageError("--report-only plays nothing: it takes the folder alone")
        _show(report_zero_shot(arguments.run))
        return
    if not all(name.strip() for name in arguments.split):
        raise UsageError("--split needs the name of a set of contexts, for example --split extrapolation")
    ablations = arguments.ablation.split(",") if arguments.ablation else None
    options: dict[str, Any] = {"envs": parse_value(arguments.envs)} if arguments.envs else {}
    result = evaluate_zero_shot(
        arguments.run,
        arguments.split,
        parse_value(arguments.episodes or "10"),
        seeds=[parse_value(seed) for seed in (arguments.seeds or arguments.seed).strip("[]").split(",")],
        checkpoint=arguments.checkpoint,
        ablations=() if ablations == ["none"] else ablations,
        experts=arguments.experts,
        again=arguments.again,
        **options,
    )
    _show(result)


def _show(result: ZeroShot) -> None:
    """Print the statistics of the splits, and where the report is."""
    from hyperrl.evaluation.zero_shot.run_report import headline

    subject, plan = result.record.results.subject, result.record.results.plan
    print(f"{subject.agent} on {subject.env}, checkpoint {subject.checkpoint} after {subject.steps:,} steps")
    count = plan.episodes * len(plan.seeds)
    print(f"{count} episodes in each context, {result.simulated:,} played now; 95 % bootstrap intervals:")
    for split in result.summary.splits:
        print(headline(split))
    print(result.page)
