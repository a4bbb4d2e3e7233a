"""The report of a comparison of methods that adapt."""

from __future__ import annotations

from collections.abc import Sequence

from hyperrl.evaluation.adaptation.comparison import AdaptationComparison, AdaptedMethod, plan_of
from hyperrl.evaluation.adaptation.figures import draw_curves
from hyperrl.evaluation.adaptation.run_report import PICTURE
from hyperrl.evaluation.adaptation.summary import shown_episodes
from hyperrl.evaluation.zero_shot.document import Document, Heading, Part, Picture, Table, Text
from hyperrl.evaluation.zero_shot.figures import png_of
from hyperrl.evaluation.zero_shot.run_report import interval_text


def comparison_report(methods: Sequence[AdaptedMethod], comparison: AdaptationComparison) -> Document:
    """Return the report of a comparison.

    Args:
        methods: The methods.
        comparison: Their statistics.
    """
    plan = plan_of(methods)
    panels = {name: {curve.method: curve.iqm for curve in comparison.of_split(name)} for name in plan.names}
    caption = (
        "Interquartile mean of the returns over runs and tasks, against the episodes of data, with 95 % "
        "intervals"
    )
    parts: list[Part] = [Text(_about(methods))]
    parts.append(Picture(PICTURE, png_of(draw_curves(panels, "IQM of returns")), caption))
    for name in plan.names:
        parts += [Heading(f"Split: {name}"), table_of(comparison, name)]
    title = f"Adaptation on {methods[0].runs[0].results.subject.env}"
    return Document(title, [*parts, *_improvements(comparison, plan.episodes), *_methods(methods)])


def table_of(comparison: AdaptationComparison, split: str) -> Table:
    """Return the table of all methods on one set of tasks.

    Args:
        comparison: The statistics.
        split: Name of the set.
    """
    curves = comparison.of_split(split)
    shown = shown_episodes(len(curves[0].iqm) - 1)
    rows = [
        [
            one.method,
            str(one.runs),
            *(interval_text(one.iqm[episodes]) for episodes in shown),
            interval_text(one.gain),
        ]
        for one in curves
    ]
    return Table(["method", "runs", *(f"after {episodes}" for episodes in shown), "gain"], rows)


def _about(methods: Sequence[AdaptedMethod]) -> str:
    plan = plan_of(methods)
    text = (
        f"The task is {', '.join(plan.space.names)}. Every run adapted to every task from nothing by "
        f"{plan.episodes} episodes of data, and played {plan.evaluations} episodes without exploration "
        f"before the first and after each (evaluation seeds: {', '.join(map(str, plan.seeds))}); resets "
        "are the same for all runs. Numbers are interquartile means over runs and tasks. Intervals are 95 % "
        "bootstrap intervals that draw the runs of a method again, each with all of its tasks."
    )
    single = [method.label for method in methods if len(method.runs) == 1]
    if single:
        unit = "seeds of the evaluation" if len(plan.seeds) > 1 else "evaluation episodes"
        text += (
            f" There is one run of {', '.join(single)}: its intervals are over {unit}, and say nothing of "
            "another training."
        )
    if any(1 < len(method.runs) < 5 for method in methods):
        text += " Bootstrap intervals of fewer than five runs are too narrow."
    return text


def _improvements(comparison: AdaptationComparison, last: int) -> list[Part]:
    if not comparison.improvements:
        return []
    shown = shown_episodes(last)
    cells = {
        (one.split, one.method, one.other, one.episodes): interval_text(one.probability)
        for one in comparison.improvements
    }
    pairs = list(dict.fromkeys((one.split, one.method, one.other) for one in comparison.improvements))
    rows = [
        [f"{method} over {other}", split, *(cells[split, method, other, episodes] for episodes in shown)]
        for split, method, other in pairs
    ]
    about = (
        "How likely a run of the first method earns more in a task than a run of the second, averaged over "
        "tasks; 0.5 is a tie."
    )
    head = ["", "split", *(f"after {episodes}" for episodes in shown)]
    return [Heading("Probability of improvement"), Text(about), Table(head, rows)]


def _methods(methods: Sequence[AdaptedMethod]) -> list[Part]:
    rows = []
    for method in methods:
        subjects = [run.results.subject for run in method.runs]
        steps = sorted({one.steps for one in subjects})
        spread = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
        rows.append([method.label, ", ".join(str(one.run_seed) for one in subjects), spread])
    return [Heading("Methods"), Table(["method", "seeds", "steps of training"], rows)]
