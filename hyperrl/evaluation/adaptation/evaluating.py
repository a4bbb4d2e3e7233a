"""How an agent adapts, from the plan to the report."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperrl.errors import ConfigError, RunFolderError
from hyperrl.evaluation.adaptation.plan import Job, Plan, Task, task_sets
from hyperrl.evaluation.adaptation.playing import Simulators, adapt_block, blocks_of, declared_tasks
from hyperrl.evaluation.adaptation.records import Records, Unfinished
from hyperrl.evaluation.adaptation.results import Key, Outcome, Results, key_of
from hyperrl.evaluation.adaptation.run_report import report
from hyperrl.evaluation.adaptation.summary import Summary, summarise
from hyperrl.evaluation.zero_shot.records import write_report
from hyperrl.evaluation.zero_shot.results import Subject
from hyperrl.evaluation.zero_shot.runs import LANES, loaded
from hyperrl.ranges import whole
from hyperrl.run import RunFolder

FOLDER = "adaptation"
"""Where in the folder of a run's evaluations the results lie."""


@dataclass(frozen=True)
class Adapted:
    """How a run adapts.

    Attributes:
        folder: The run's folder.
        results: The episodes.
        summary: The statistics.
        page: The report as one HTML page; beside it are `report.md`, `report.json` and `curve.png`.
        simulated: How many adaptations, of one task with one seed, were played now; the others were there.
    """

    folder: RunFolder
    results: Results
    summary: Summary
    page: Path
    simulated: int


def evaluate_adaptation(
    run_dir: str | Path,
    episodes: int,
    *,
    tasks: Sequence[Task] = (),
    splits: Sequence[str] = (),
    eval_episodes: int = 5,
    seeds: Sequence[int] = (0,),
    checkpoint: str = "latest",
    envs: int = LANES,
    again: bool = False,
    say: Callable[[str], None] = print,
) -> Adapted:
    """Let the agent of a run adapt to tasks, evaluate it on the way, and write `eval/adaptation`.

    What an evaluation with the same numbers has played before is not played again, and remains in the table
    when other tasks are asked for. Until all is played, an earlier evaluation stays as it is; one that is
    stopped goes on where it was.

    Args:
        run_dir: The run's folder.
        episodes: Episodes of data K in each task.
        tasks: Single tasks: text such as "direction=-1", values by name, or all values in order.
        splits: Names of declared sets of tasks. Where neither is given, all sets of tests.
        eval_episodes: Episodes without exploration after each of 0 ... K episodes of data.
        seeds: Seeds of the evaluation; the same seeds begin the same episodes, whatever the run.
        checkpoint: "latest", "best" or a number of steps.
        envs: How many tasks are played side by side at most. It may change the last bits of actions, and
            what agents draw.
        again: Whether to play the tasks even where they were played before.
        say: Called with a line now and then.

    Raises:
        ConfigError: The agent cannot adapt, or a number is out of range.
        ContextError: The environment has no tasks, there is none to adapt to, or one is given twice.
        UnknownNameError: There is no such split or checkpoint.
        HyperRLError: There is no such run, a task is not in the space, or the folder cannot be written.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    count = int(whole(1, 4096).check("envs", envs))
    declared = declared_tasks(config)
    sets = task_sets(declared, splits, tasks)
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise ConfigError(f"seeds must be a list, got {seeds!r}: put it in brackets")
    asked = Plan(declared.space, sets, episodes, eval_episodes, tuple(seeds))
    steps = folder.checkpoint(checkpoint, replay=False).steps
    subject = Subject(config.env, config.agent, config.seed, checkpoint, steps)
    if not os.access(folder.path, os.W_OK):
        raise RunFolderError(f"{folder.path} cannot be written: the results would be lost")
    records = Records(folder.evaluation / FOLDER)
    stored = records.read_if_any()
    joined = stored.plan.joined(asked) if stored is not None and stored.subject == subject else None
    if stored is not None and joined is None:
        say("an earlier evaluation, of other numbers, tasks or weights, is replaced when this one is done")
    plan = joined or asked
    before = stored.by_job() if stored is not None and joined is not None else {}
    unfinished = Unfinished(records.path, subject, plan)
    if again:
        unfinished.remove()
        anew = {key_of(job, plan.space) for job in asked.jobs()}
        before = {key: outcome for key, outcome in before.items() if key not in anew}
    results, simulated = _played(folder, plan, subject, before, unfinished, count, say)
    records.write(results)
    unfinished.remove()
    return _reported(folder, results, simulated)


def report_adaptation(run_dir: str | Path) -> Adapted:
    """Write the reports of an evaluation anew from its table, simulating nothing.

    Args:
        run_dir: The run's folder.

    Raises:
        RunFolderError: There is no such run, it has no such evaluation, or it cannot be written.
    """
    folder = RunFolder.open(run_dir)
    return _reported(folder, Records(folder.evaluation / FOLDER).read(), 0)


def _played(
    folder: RunFolder,
    plan: Plan,
    subject: Subject,
    before: Mapping[Key, Outcome],
    unfinished: Unfinished,
    lanes: int,
    say: Callable[[str], None],
) -> tuple[Results, int]:
    """Return the outcomes of a plan, playing what is not known, and how many were played."""
    jobs = plan.jobs()
    known = {**before, **unfinished.outcomes}
    asked = [job for job in jobs if key_of(job, plan.space) not in known]
    if 0 < len(asked) < len(jobs):
        say(f"{len(jobs) - len(asked):,} of {len(jobs):,} adaptations were played before")
    if asked:
        _play(folder, plan, subject, asked, unfinished, lanes, say)
    known = {**before, **unfinished.outcomes}
    outcomes = tuple(known[key_of(job, plan.space)] for job in jobs)
    return Results(subject, plan, outcomes), len(asked)


def _play(
    folder: RunFolder,
    plan: Plan,
    subject: Subject,
    asked: Sequence[Job],
    unfinished: Unfinished,
    lanes: int,
    say: Callable[[str], None],
) -> None:
    done = 0
    with loaded(folder, subject.checkpoint) as agent, Simulators(folder.config()) as simulators:
        for block in blocks_of(asked, lanes):
            outcomes = adapt_block(agent, simulators.lanes(len(block.jobs)), block, plan)
            unfinished.add(block.jobs, outcomes)
            done += len(block.jobs)
            say(f"{done:,} of {len(asked):,} adaptations")


def _reported(folder: RunFolder, results: Results, simulated: int) -> Adapted:
    summary = summarise(results)
    data = {
        "subject": dataclasses.asdict(results.subject),
        "plan": results.plan.to_json(),
        **summary.to_json(),
    }
    page = write_report(folder.evaluation / FOLDER, report(results, summary), data)
    return Adapted(folder, results, summary, page, simulated)
