"""The report of a zero-shot evaluation of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hyperrl.context.splits import TRAIN
from hyperrl.evaluation.statistics import Interval
from hyperrl.evaluation.zero_shot.context_figure import draw_contexts
from hyperrl.evaluation.zero_shot.document import Document, Heading, Part, Picture, Table, Text
from hyperrl.evaluation.zero_shot.figures import draw_distances, draw_groups, draw_profiles, png_of
from hyperrl.evaluation.zero_shot.plan import MEAN, RANDOM, SHUFFLED
from hyperrl.evaluation.zero_shot.references import EXTRAPOLATED, INTERPOLATED
from hyperrl.evaluation.zero_shot.results import Results
from hyperrl.evaluation.zero_shot.summary import (
    ContextSummary,
    DistanceSummary,
    SplitSummary,
    Summary,
)

NAMES = {SHUFFLED: "told another context", MEAN: "told the mean context", RANDOM: "random actions"}
"""What ablations are called in reports."""

COSTS = {
    "trainable_parameters": "trainable parameters, critics included",
    "actor_parameters": "trainable parameters of the actor",
    "generated_parameters": "weights generated for an actor of one context",
    "milliseconds_per_query": "milliseconds per query of one observation",
}


def report(results: Results, summary: Summary, costs: Mapping[str, Any]) -> Document:
    """Return the report of an evaluation.

    Args:
        results: The episodes.
        summary: Their statistics.
        costs: Numbers by the names of `COSTS`; what is None is left out.
    """
    subject = results.subject
    title = f"Zero-shot evaluation: {subject.agent} on {subject.env}, seed {subject.run_seed}"
    parts: list[Part] = [Text(_settings(results)), *_splits(summary), *_contexts(results, summary)]
    parts += [*_ablations(results, summary), *_distances(summary), *_profile(results)]
    parts += [*_references(summary), *_costs(costs), *_all_contexts(results, summary)]
    return Document(title, parts)


def number(value: float | None, like: float | None = None) -> str:
    """Return a number with about four digits, or a dash.

    Args:
        value: The number.
        like: Another number, whose digits decide how many places there are; the number itself by default.
    """
    if value is None:
        return "-"
    size = abs(value if like is None else like)
    if 0 < size < 0.1:
        return f"{value:.2g}"
    places = next((places for places, least in enumerate((1000, 100, 10)) if size >= least), 3)
    return f"{value:.{places}f}"


def interval_text(value: Interval | None) -> str:
    """Return an estimate with its interval in brackets, or a dash."""
    if value is None:
        return "-"
    return f"{number(value.estimate, _largest(value))} {ends_text(value)}"


def ends_text(value: Interval) -> str:
    """Return an interval in brackets, without its estimate."""
    like = _largest(value)
    return f"[{number(value.low, like)}, {number(value.high, like)}]"


def _largest(value: Interval) -> float:
    return max(map(abs, (value.estimate, value.low, value.high)))


def percent(share: float | None) -> str:
    """Return a share in percent, or a dash."""
    return "-" if share is None else f"{100 * share:.0f} %"


def _settings(results: Results) -> str:
    subject, plan = results.subject, results.plan
    seeds = ", ".join(map(str, plan.seeds))
    count = plan.episodes * len(plan.seeds)
    return (
        f"Checkpoint {subject.checkpoint} after {subject.steps:,} steps. The context is "
        f"{', '.join(plan.splits.space.names)}. In every context {count} episodes without exploration "
        f"(evaluation seeds: {seeds}), with the same resets in all contexts. Intervals are 95 % bootstrap "
        "intervals that draw resets again, each in all contexts; the stratified ones draw episodes in each "
        "context by itself. They are about this one trained policy and say nothing of another training."
    )


def _splits(summary: Summary) -> list[Part]:
    head = [
        "split",
        "contexts",
        "IQM",
        "stratified",
        "mean",
        "worst tenth",
        "gap to training",
        "ended early",
        "steps",
    ]
    with_success = any(one.success is not None for one in summary.splits)
    with_scores = any(one.normalised is not None for one in summary.splits)
    head += ["success"] * with_success + ["normalised IQM", "optimality gap"] * with_scores
    rows = []
    for one in summary.splits:
        row = [one.name, str(one.contexts), interval_text(one.iqm), ends_text(one.stratified)]
        row += map(interval_text, (one.mean, one.worst, one.gap))
        row += [percent(one.terminated), number(one.length)]
        row += [percent(one.success)] * with_success
        row += [interval_text(one.normalised), interval_text(one.optimality_gap)] * with_scores
        rows.append(row)
    parts: list[Part] = [Heading("Splits"), Table(head, rows)]
    about = (
        "IQM is the interquartile mean over contexts, the gap is IQM of training minus IQM of the split, the "
        "worst tenth is the mean over the tenth of the contexts with the lowest returns."
    )
    if summary.tests is not None:
        about += f" Mean over all contexts that are no training (AER): {interval_text(summary.tests)}."
    return [*parts, Text(about)]


def _contexts(results: Results, summary: Summary) -> list[Part]:
    splits = results.plan.splits
    experts = None
    if summary.experts:
        experts = np.array([one.expert for one in summary.contexts], np.float64)
    figure = draw_contexts(splits, {name: results.returns(name) for name in results.plan.names}, experts)
    caption = "Mean return in every context"
    if len(splits.space) == 1:
        caption += ", with 95 % intervals over episodes. Shaded or marked: where training was."
    elif len(splits.space) == 2:
        caption += "; the ground has the colour of the nearest one. Outlined: where training was."
    else:
        caption += ", against each parameter by itself. Shaded or marked: where training was."
    parts: list[Part] = [Heading("Contexts"), Picture("contexts.png", png_of(figure), caption)]
    worst = sorted(summary.contexts, key=lambda one: one.mean)[:10]
    head, rows = _context_rows(results, worst)
    return [*parts, Text("The contexts with the lowest mean returns:"), Table(head, rows)]


def _ablations(results: Results, summary: Summary) -> list[Part]:
    kinds = [kind for kind in results.plan.ablations if any(kind in one.ablations for one in summary.splits)]
    if not kinds:
        return []
    head = ["split", "IQM"]
    for kind in kinds:
        head += [NAMES[kind], "loss"]
    rows = []
    for one in summary.splits:
        row = [one.name, interval_text(one.iqm)]
        for kind in kinds:
            row += [interval_text(one.ablations.get(kind)), interval_text(one.losses.get(kind))]
        rows.append(row)
    series: dict[str, list[Interval | None]] = {"the policy": [one.iqm for one in summary.splits]}
    series |= {NAMES[kind]: [one.ablations.get(kind) for one in summary.splits] for kind in kinds}
    figure = draw_groups([one.name for one in summary.splits], series, "IQM of returns")
    about = (
        "The tasks are the same, but the policy is told a context that is not theirs. Where the interval of "
        "the loss is above 0, the policy makes use of the context."
    )
    caption = "IQM by split, with what the policy earns when it is told a wrong context"
    return [
        Heading("Is the context used?"),
        Text(about),
        Table(head, rows),
        Picture("ablations.png", png_of(figure), caption),
    ]


def _distances(summary: Summary) -> list[Part]:
    points = {}
    for split in summary.splits:
        own = summary.of_split(split.name)
        points[split.name] = (np.array([one.distance for one in own]), np.array([one.mean for one in own]))
    middles = np.array([(one.low + one.high) / 2 for one in summary.distances])
    means = np.array([one.mean.estimate for one in summary.distances])
    lines = {"mean of groups": (middles, means)} if len(middles) > 1 else {}
    figure = draw_distances(points, lines, "mean return")
    rows = [[_span(one), str(one.contexts), interval_text(one.mean)] for one in summary.distances]
    return [
        Heading("Distance from training"),
        Picture(
            "distance.png", png_of(figure), "Mean return of every context against its distance from training"
        ),
        Table(["distance", "contexts", "mean return"], rows),
    ]


def _span(group: DistanceSummary) -> str:
    low, high = f"{group.low:.2f}", f"{group.high:.2f}"
    return low if low == high else f"{low} to {high}"


def _profile(results: Results) -> list[Part]:
    values = {name: results.returns(name).mean(axis=1) for name in results.plan.names}
    figure = draw_profiles(values, "mean return")
    caption = "Performance profile: the share of contexts whose mean return is above a value"
    return [Heading("Profile"), Picture("profile.png", png_of(figure), caption)]


def _references(summary: Summary) -> list[Part]:
    if not summary.experts:
        return []
    kinds = [one.expert_kind for one in summary.contexts]
    about = (
        f"{len(summary.experts)} experts of one context each. The normalised score is 0 for random actions "
        f"and 1 for the expert; of {len(kinds)} contexts, the expert's return is interpolated for "
        f"{kinds.count(INTERPOLATED)} and extrapolated for {kinds.count(EXTRAPOLATED)}."
    )
    undefined = sum(one.undefined for one in summary.splits)
    if undefined:
        about += f" {undefined} contexts in which the expert is no better than chance have no score."
    rows = [
        [
            ", ".join(f"{value:.6g}" for value in one.context),
            number(one.value),
            str(one.episodes or "-"),
            one.source,
        ]
        for one in summary.experts
    ]
    return [
        Heading("Experts"),
        Text(about),
        Table(["context", "return", "episodes", "from"], rows, folded="The experts"),
    ]


def _costs(costs: Mapping[str, Any]) -> list[Part]:
    known = [(text, costs[name]) for name, text in COSTS.items() if costs.get(name) is not None]
    if not known:
        return []
    rows = [[text, f"{value:,}" if isinstance(value, int) else f"{value:.3g}"] for text, value in known]
    return [Heading("Costs"), Table(["", "number"], rows)]


def _all_contexts(results: Results, summary: Summary) -> list[Part]:
    head, rows = _context_rows(results, summary.contexts)
    folded = f"All {len(summary.contexts)} contexts"
    return [Heading("All contexts"), Table(head, rows, folded=folded)]


def _context_rows(
    results: Results, contexts: tuple[ContextSummary, ...] | list[ContextSummary]
) -> tuple[list[str], list[list[str]]]:
    head = [
        "split",
        *results.plan.splits.space.names,
        "distance",
        "mean",
        "median",
        "sd",
        "ended early",
        "steps",
    ]
    kinds = [*results.plan.ablations, *([RANDOM] if results.plan.random else [])]
    head += [NAMES[kind] for kind in kinds]
    with_success = any(one.success is not None for one in contexts)
    with_experts = any(one.expert is not None for one in contexts)
    head += ["success"] * with_success + ["expert", "", "normalised"] * with_experts
    rows = []
    for one in contexts:
        row = [one.split, *(f"{value:.4g}" for value in one.values), f"{one.distance:.2f}"]
        row += [
            number(one.mean),
            number(one.median),
            number(one.sd),
            percent(one.terminated),
            number(one.length),
        ]
        row += [number(one.ablations.get(kind)) for kind in kinds]
        row += [percent(one.success)] * with_success
        row += [number(one.expert), one.expert_kind or "", number(one.normalised)] * with_experts
        rows.append(row)
    return head, rows


def headline(split: SplitSummary) -> str:
    """Return one line about a split, for a terminal.

    Args:
        split: Its statistics.
    """
    text = f"  {split.name:<18}{split.contexts:>5} contexts  IQM {interval_text(split.iqm):<28}"
    return text + ("" if split.gap is None or split.name == TRAIN else f"  gap {interval_text(split.gap)}")
