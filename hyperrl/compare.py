"""The verb `compare`: methods beside each other, by their zero-shot evaluations or by how they adapt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperrl.errors import ContextError, UsageError
from hyperrl.evaluation.adaptation import comparison as adapting
from hyperrl.evaluation.adaptation.comparison import AdaptationComparison, AdaptedMethod, AdaptedRun
from hyperrl.evaluation.adaptation.comparison_report import comparison_report as adaptation_report
from hyperrl.evaluation.adaptation.evaluating import FOLDER as ADAPTATION
from hyperrl.evaluation.adaptation.records import Records as AdaptationRecords
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


@dataclass(frozen=True, eq=False)
class ComparedAdaptations:
    """The result of a comparison of how methods adapt.

    Attributes:
        methods: The methods and their runs.
        comparison: The statistics.
        page: The report as one HTML page; None where none was written.
    """

    methods: tuple[AdaptedMethod, ...]
    comparison: AdaptationComparison
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
    runs = [_read(path) for path in _different(run_dirs)]
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


def compare_adaptations(
    run_dirs: Sequence[str | Path], out: str | Path | None = None, *, labels: Sequence[str] = ()
) -> ComparedAdaptations:
    """Compare methods by how their runs adapt; nothing is simulated.

    Args:
        run_dirs: Folders of runs with an evaluation of adaptation by the same plan, several of each method.
        out: Folder for `report.md`, `report.json`, `report.html` and a picture; None writes nothing.
        labels: The method of each run; by default runs whose settings differ in the seed alone are of one.

    Raises:
        ContextError: The runs cannot be compared.
        RunFolderError: There is no such run, or it has no such evaluation.
        HyperRLError: A label is wrong.
    """
    runs = []
    for path in _different(run_dirs):
        folder = RunFolder.open(path)
        results = AdaptationRecords(folder.evaluation / ADAPTATION).read()
        runs.append(AdaptedRun(str(path), folder.config(), results))
    methods = tuple(adapting.grouped(runs, labels))
    comparison = adapting.compared(methods)
    page = None
    if out is not None:
        data = {
            "env": runs[0].config.env,
            "runs": [{"folder": run.name, **dataclasses.asdict(run.results.subject)} for run in runs],
            "plan": adapting.plan_of(methods).to_json(),
            **comparison.to_json(),
        }
        document = adaptation_report(methods, comparison)
        page = write_report(Path(out).expanduser().absolute(), document, data)
    return ComparedAdaptations(methods, comparison, page)


def _different(run_dirs: Sequence[str | Path]) -> list[Path]:
    """Return the folders of runs, refusing what is none, or one that comes twice."""
    if isinstance(run_dirs, (str, Path)) or not run_dirs:
        raise UsageError("a comparison needs the folders of runs, for example runs/one and runs/two")
    paths = [Path(path) for path in run_dirs]
    if len({path.expanduser().resolve() for path in paths}) < len(paths):
        raise UsageError("a comparison needs different runs, but one folder is given twice")
    return paths


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
