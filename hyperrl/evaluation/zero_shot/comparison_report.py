"""The report of a comparison of methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyperrl.context.splits import TRAIN
from hyperrl.evaluation.statistics import Interval
from hyperrl.evaluation.zero_shot.comparison import Comparison, plan_of, scores_of
from hyperrl.evaluation.zero_shot.context_figure import draw_methods
from hyperrl.evaluation.zero_shot.document import Document, Heading, Part, Picture, Table, Text
from hyperrl.evaluation.zero_shot.figures import draw_distances, draw_groups, draw_profiles, png_of
from hyperrl.evaluation.zero_shot.methods import Method
from hyperrl.evaluation.zero_shot.references import Expert
from hyperrl.evaluation.zero_shot.run_report import COSTS, ends_text, interval_text
from hyperrl.evaluation.zero_shot.summary import distance_groups


def comparison_report(
    methods: Sequence[Method], comparison: Comparison, experts: Sequence[Expert]
) -> Document:
    """Return the report of a comparison.

    Args:
        methods: The methods.
        comparison: Their statistics.
        experts: Policies of one context each, if there are any.
    """
    plan, subject = plan_of(methods), methods[0].runs[0].record.results.subject
    title = f"Zero-shot comparison on {subject.env}"
    parts: list[Part] = [Text(_about(methods)), *_splits(comparison, plan.names)]
    parts += [*_improvements(methods, comparison, plan.names), *_contexts(methods), *_distances(methods)]
    parts += [*_profiles(methods, experts), *_methods(comparison)]
    return Document(title, parts)


def table_of(comparison: Comparison, split: str) -> Table:
    """Return the table of all methods on one split.

    Args:
        comparison: The statistics.
        split: Name of the split.
    """
    cells = [one for one in comparison.cells if one.split == split]
    head = ["method", "runs", "IQM", "stratified", "mean", "worst tenth"]
    optional: list[tuple[str, list[Interval | None]]] = [
        ("gap to training", [one.gap for one in cells]),
        ("loss if told another context", [one.shuffled for one in cells]),
        ("normalised IQM", [one.normalised for one in cells]),
        ("optimality gap", [one.optimality_gap for one in cells]),
    ]
    shown = [(name, values) for name, values in optional if any(value is not None for value in values)]
    rows = [
        [
            one.method,
            str(one.runs),
            interval_text(one.iqm),
            ends_text(one.stratified),
            *map(interval_text, (one.mean, one.worst, *(values[row] for _, values in shown))),
        ]
        for row, one in enumerate(cells)
    ]
    return Table([*head, *(name for name, _ in shown)], rows)


def _about(methods: Sequence[Method]) -> str:
    plan = plan_of(methods)
    count = plan.episodes * len(plan.seeds)
    text = (
        f"The context is {', '.join(plan.splits.space.names)}. Every run played {count} episodes without "
        "exploration in every context, with the same resets in all contexts and for all runs; episodes are "
        "averaged first. Intervals are 95 % bootstrap intervals that draw the runs of a method again, each "
        "with all of its contexts. The stratified ones draw runs in each context by itself, as if every "
        "context had runs of its own, and are too narrow where runs differ as wholes."
    )
    single = [method.label for method in methods if len(method.runs) == 1]
    if single:
        text += (
            f" There is one run of {', '.join(single)}: its intervals are over episodes, and say nothing of "
            "another training."
        )
    if any(1 < len(method.runs) < 5 for method in methods):
        text += " Bootstrap intervals of fewer than five runs are too narrow."
    return text


def _splits(comparison: Comparison, names: Sequence[str]) -> list[Part]:
    parts: list[Part] = []
    for name in names:
        parts += [Heading(f"Split: {name}"), table_of(comparison, name)]
    labels = [one.method for one in comparison.methods]
    series = {label: [comparison.cell(label, name).iqm for name in names] for label in labels}
    figure = draw_groups(names, series, "IQM of returns")
    return [*parts, Picture("splits.png", png_of(figure), "IQM of each method on each split")]


def _improvements(methods: Sequence[Method], comparison: Comparison, names: Sequence[str]) -> list[Part]:
    if len(methods) < 2:
        return []
    head = ["", *names]
    rows = []
    found = {(one.split, one.method, one.other): one.probability for one in comparison.improvements}
    for one in methods:
        for other in methods:
            if one is not other:
                cells = [interval_text(found[name, one.label, other.label]) for name in names]
                rows.append([f"{one.label} over {other.label}", *cells])
    about = (
        "How likely a run of the first method earns more in a context than a run of the second, averaged "
        "over contexts; 0.5 is a tie."
    )
    return [Heading("Probability of improvement"), Text(about), Table(head, rows)]


def _contexts(methods: Sequence[Method]) -> list[Part]:
    plan = plan_of(methods)
    figure = draw_methods(
        plan.splits,
        {
            method.label: {name: method.returns(name).mean(axis=2).T for name in plan.names}
            for method in methods
        },
    )
    if figure is None:
        return []
    caption = "Mean return in every context"
    if len(plan.splits.space) == 1:
        caption += "; the bands are from the least to the greatest run. Shaded or marked: where training was."
    else:
        caption += ", in one scale of colours. Outlined: where training was."
    return [Heading("Contexts"), Picture("contexts.png", png_of(figure), caption)]


def _distances(methods: Sequence[Method]) -> list[Part]:
    plan = plan_of(methods)
    distances = np.concatenate([plan.splits.distance(plan.splits.contexts(name)) for name in plan.names])
    groups = distance_groups(distances)
    lines = {}
    for method in methods:
        returns = np.concatenate([method.returns(name).mean(axis=(0, 2)) for name in plan.names])
        middles = np.array([distances[group].mean() for group in groups])
        lines[method.label] = (middles, np.array([returns[group].mean() for group in groups]))
    figure = draw_distances({}, lines, "mean return")
    caption = "Mean return of groups of contexts against their mean distance from training"
    return [Heading("Distance from training"), Picture("distance.png", png_of(figure), caption)]


def _profiles(methods: Sequence[Method], experts: Sequence[Expert]) -> list[Part]:
    plan = plan_of(methods)
    names = [name for name in plan.names if name != TRAIN] or list(plan.names)
    values, label = {}, "normalised score"
    for method in methods:
        scores = [scores_of(methods, method, name, experts) for name in names]
        known = [one.mean(axis=2).reshape(-1) for one in scores if one is not None]
        if known:
            values[method.label] = np.concatenate(known)
    if not values:
        label = "mean return"
        for method in methods:
            returns = [method.returns(name).mean(axis=2).reshape(-1) for name in names]
            values[method.label] = np.concatenate(returns)
    figure = draw_profiles(values, label)
    caption = "Performance profile: the share of runs and contexts outside of training above a score"
    return [Heading("Profile"), Picture("profile.png", png_of(figure), caption)]


def _methods(comparison: Comparison) -> list[Part]:
    known = [name for name in COSTS if any(one.costs.get(name) is not None for one in comparison.methods)]
    head = [
        "method",
        "seeds",
        "steps of training",
        "mean of all tests (AER)",
        *(COSTS[name] for name in known),
    ]
    rows = []
    for one in comparison.methods:
        steps = " to ".join(f"{number:,}" for number in sorted({min(one.steps), max(one.steps)}))
        row = [one.method, ", ".join(map(str, one.seeds)), steps, interval_text(one.mean)]
        for name in known:
            value = one.costs.get(name)
            row.append("-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3g}")
        rows.append(row)
    return [Heading("Methods"), Table(head, rows)]
