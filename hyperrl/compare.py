"""The verb `compare`: methods beside each other in the contexts of their zero-shot evaluations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperrl.errors import ContextError, UsageError
from hyperrl.evaluation.zero_shot.comparison import Comparison, compared, plan_of
from hyperrl.evaluation.zero_shot.comparison_report import comparison_report
from hyperrl.evaluation.zero_shot.evaluating import FOLDER
from hyperrl.evaluation.zero_shot.experts import read_experts
from hyperrl.evaluation.zero_shot.methods import EvaluatedRun, Method, grouped
from hyperrl.evaluation.zero_shot.records import Records, write_report
from hyperrl.evaluation.zero_shot.references import Expert
from hyperrl.run import RunFolder


@dataclass(frozen=True, eq=False)
class Compared:
    """The result of a comparison.

    Attributes:
        methods: The methods and their runs.
        comparison: The statistics.
        page: The report as one HTML page; None where none was written.
    """

    methods: tuple[Method, ...]
    comparison: Comparison
    page: Path | None


def compare(
    run_dirs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    labels: Sequence[str] = (),
    experts: str | Path | None = None,
) -> Compared:
    """Compare methods by the zero-shot evaluations of their runs; nothing is simulated.

    Args:
        run_dirs: Folders of runs with a zero-shot evaluation of the same plan, several of each method.
        out: Folder for `report.md`, `report.json`, `report.html` and pictures; None writes nothing.
        labels: The method of each run; by default runs whose settings differ in the seed alone are of one.
        experts: A CSV table of what experts earn, for normalised scores; by default the experts of the
            evaluations.

    Raises:
        ContextError: The runs cannot be compared.
        RunFolderError: There is no such run, or it has no zero-shot evaluation.
        HyperRLError: A label or an expert is wrong.
    """
    if isinstance(run_dirs, (str, Path)) or not run_dirs:
        raise UsageError("a comparison needs the folders of runs, for example runs/one and runs/two")
    runs = [_read(Path(path)) for path in run_dirs]
    if len({Path(path).expanduser().resolve() for path in run_dirs}) < len(runs):
        raise UsageError("a comparison needs different runs, but one folder is given twice")
    methods = tuple(grouped(runs, labels))
    space = plan_of(methods).splits.space
    known = read_experts(Path(experts), space) if experts is not None else _experts(runs)
    comparison = compared(methods, known)
    page = None
    if out is not None:
        document = comparison_report(methods, comparison, known)
        data = {
            "env": runs[0].config.env,
            "runs": [{"folder": run.name, **_subject(run)} for run in runs],
            "plan": plan_of(methods).to_json(),
            **comparison.to_json(),
            "experts": [dataclasses.asdict(expert) for expert in known],
        }
        page = write_report(Path(out).expanduser().absolute(), document, data)
    return Compared(methods, comparison, page)


def _read(path: Path) -> EvaluatedRun:
    folder = RunFolder.open(path)
    return EvaluatedRun(str(path), folder.config(), Records(folder.evaluation / FOLDER).read())


def _experts(runs: Sequence[EvaluatedRun]) -> list[Expert]:
    """Return the experts of all evaluations; those of one context must agree."""
    found: dict[tuple[float, ...], Expert] = {}
    for run in runs:
        for expert in run.record.experts:
            other = found.setdefault(expert.context, expert)
            if other.value != expert.value:
                text = run.record.results.plan.splits.space.text(expert.context)
                raise ContextError(
                    f"the evaluations have different experts of the context {text}: give a table of experts"
                )
    return list(found.values())


def _subject(run: EvaluatedRun) -> dict[str, object]:
    return dataclasses.asdict(run.record.results.subject)
