"""The zero-shot evaluation of a run: from the plan to the report."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperrl.errors import ContextError, RunFolderError
from hyperrl.evaluation.zero_shot.costs import costs_of
from hyperrl.evaluation.zero_shot.experts import ExpertRun, measured, read_experts
from hyperrl.evaluation.zero_shot.lanes import contexts_of
from hyperrl.evaluation.zero_shot.plan import ABLATIONS, Plan
from hyperrl.evaluation.zero_shot.records import Record, Records, write_report
from hyperrl.evaluation.zero_shot.results import Results, Subject, key_of
from hyperrl.evaluation.zero_shot.rollouts import Played
from hyperrl.evaluation.zero_shot.run_report import report
from hyperrl.evaluation.zero_shot.runs import LANES, Progress, loaded, play_cases
from hyperrl.evaluation.zero_shot.summary import Summary, summarise
from hyperrl.evaluation.zero_shot.unfinished import Unfinished
from hyperrl.ranges import whole
from hyperrl.run import RunFolder

FOLDER = "zero-shot"
"""Where in the folder of a run's evaluations the results lie."""


@dataclass(frozen=True)
class ZeroShot:
    """The result of a zero-shot evaluation.

    Attributes:
        folder: The run's folder.
        record: The episodes, the experts, and what the policy costs.
        summary: The statistics.
        page: The report as one HTML page; beside it are `report.md`, `report.json` and the pictures.
        simulated: How many episodes were played now; the others were there.
    """

    folder: RunFolder
    record: Record
    summary: Summary
    page: Path
    simulated: int


def evaluate_zero_shot(
    run_dir: str | Path,
    splits: Sequence[str],
    episodes: int = 10,
    *,
    seeds: Sequence[int] = (0,),
    checkpoint: str = "latest",
    ablations: Sequence[str] | None = None,
    experts: Sequence[str | Path] = (),
    envs: int = LANES,
    again: bool = False,
    say: Callable[[str], None] = print,
) -> ZeroShot:
    """Evaluate a run in contexts that it was trained in and in others, and write `eval/zero-shot`.

    Episodes that an evaluation with the same numbers has played before are not played again, and remain in
    the table when another split is asked for. Until all are played, an earlier evaluation stays as it is; one
    that is stopped goes on where it was.

    Args:
        run_dir: The run's folder.
        splits: Names of sets of contexts, such as "train" and "extrapolation".
        episodes: Episodes in each context for each seed.
        seeds: Seeds of the evaluation; the same seeds begin the same episodes, whatever the run.
        checkpoint: "latest", "best" or a number of steps.
        ablations: Some of "shuffled" and "mean", the contexts that the policy is told instead of the true
            ones; None for both, where the policy sees the context at all.
        experts: Folders of runs that were trained in one context each, or a CSV table of what they earn.
        envs: How many episodes are played side by side at most. It may change the last bits of actions, see
            `hyperrl.evaluation.zero_shot.actors.PolicyActor`.
        again: Whether to play even what was played before.
        say: Called with a line now and then.

    Raises:
        ContextError: The run's environment has no contexts, or hides them though ablations are asked for.
        UnknownNameError: There is no such split, checkpoint or ablation.
        HyperRLError: There is no such run, a number is out of range, or the folder cannot be written.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    count = int(whole(1, 4096).check("envs", envs))
    contexts, view = contexts_of(config.env, config.env_kwargs)
    if ablations and not view.is_visible:
        raise ContextError("the context is hidden from the policy of this run: there is nothing to ablate")
    chosen = tuple(ABLATIONS if view.is_visible else ()) if ablations is None else tuple(ablations)
    plan = Plan(contexts, tuple(splits), episodes, tuple(seeds), chosen, random=bool(experts))
    steps = folder.checkpoint(checkpoint, replay=False).steps
    subject = Subject(config.env, config.agent, config.seed, checkpoint, steps)
    tables = [read_experts(Path(one), contexts.space) for one in experts if Path(one).is_file()]
    runs = [ExpertRun(Path(one), config.env, plan) for one in experts if not Path(one).is_file()]
    if not os.access(folder.path, os.W_OK):
        raise RunFolderError(f"{folder.path} cannot be written: the results would be lost")
    records = Records(folder.evaluation / FOLDER)
    stored = None if again else _same(records.read_if_any(), subject, plan)
    if stored is not None:
        plan = stored.results.plan.joined(plan) or plan
    unfinished = Unfinished(records.path, subject, plan)
    if again:
        unfinished.remove()
    record, simulated = _played(folder, plan, subject, stored, unfinished, count, say)
    # What was played is safe before the experts play.
    records.write(record)
    unfinished.remove()
    given = [*(one for table in tables for one in table), *measured(runs, record.experts, say)]
    if given:
        record = dataclasses.replace(record, experts=tuple(given))
        records.write(record)
    summary = summarise(record.results, record.experts)
    return _reported(folder, record, summary, simulated)


def report_zero_shot(run_dir: str | Path) -> ZeroShot:
    """Write the reports of a zero-shot evaluation anew from its table, simulating nothing.

    Args:
        run_dir: The run's folder.

    Raises:
        RunFolderError: There is no such run, it has no zero-shot evaluation, or it cannot be written.
    """
    folder = RunFolder.open(run_dir)
    record = Records(folder.evaluation / FOLDER).read()
    return _reported(folder, record, summarise(record.results, record.experts), 0)


def _same(stored: Record | None, subject: Subject, plan: Plan) -> Record | None:
    """Return an earlier evaluation, where its episodes are those of the same policy and go with the plan."""
    if stored is None or stored.results.subject != subject or stored.results.plan.joined(plan) is None:
        return None
    return stored


def _played(
    folder: RunFolder,
    plan: Plan,
    subject: Subject,
    stored: Record | None,
    unfinished: Unfinished,
    lanes: int,
    say: Callable[[str], None],
) -> tuple[Record, int]:
    """Return the outcomes of a plan, playing what is not known, and how many were played."""
    before = {} if stored is None else stored.results.by_case()
    cases, space = plan.cases(), plan.splits.space
    known = before | unfinished.episodes
    asked = [case for case in cases if key_of(case, space) not in known]
    if 0 < len(asked) < len(cases):
        say(f"{len(cases) - len(asked):,} of {len(cases):,} episodes were played before")
    experts, costs = ((), {}) if stored is None else (stored.experts, stored.costs)
    if asked or not costs:
        progress = Progress(max(1, len(asked)), say)

        def tell(played: Played) -> None:
            unfinished.add(played)
            progress(played)

        with loaded(folder, subject.checkpoint) as agent:
            costs = costs_of(agent)
            if asked:
                play_cases(agent, folder.config(), asked, lanes=lanes, tell=tell)
    known = before | unfinished.episodes
    outcomes = tuple(known[key_of(case, space)] for case in cases)
    return Record(Results(subject, plan, outcomes), experts, costs), len(asked)


def _reported(folder: RunFolder, record: Record, summary: Summary, simulated: int) -> ZeroShot:
    data = {
        "subject": dataclasses.asdict(record.results.subject),
        "plan": record.results.plan.to_json(),
        **summary.to_json(),
        "costs": dict(record.costs),
    }
    document = report(record.results, summary, record.costs)
    page = write_report(folder.evaluation / FOLDER, document, data)
    return ZeroShot(folder, record, summary, page, simulated)
