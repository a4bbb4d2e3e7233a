"""Pictures of statistics: splits, distance from training, profiles, and methods beside each other."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from hyperrl.context.space import Array
from hyperrl.evaluation.scores import performance_profile
from hyperrl.evaluation.statistics import Interval
from hyperrl.evaluation.zero_shot.context_figure import COLOURS

_THRESHOLDS = 101


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    data = io.BytesIO()
    # Without the version of matplotlib in it, equal pictures are equal files.
    figure.savefig(data, dpi=140, format="png", metadata={"Software": None})
    return data.getvalue()


def draw_groups(groups: Sequence[str], series: Mapping[str, Sequence[Interval | None]], label: str) -> Figure:
    """Draw intervals side by side: a group on the axis for each split, in it one mark for each series.

    Args:
        groups: Names on the axis.
        series: For each name in the legend one interval for each group, None where there is none.
        label: What the numbers are.
    """
    figure = Figure(figsize=(max(6.0, 1.0 + 1.3 * len(groups)), 3.8), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, intervals) in enumerate(series.items()):
        offset = 0.0 if len(series) == 1 else 0.5 * (index / (len(series) - 1) - 0.5)
        shown = [(place, one) for place, one in enumerate(intervals) if one is not None]
        if not shown:
            continue
        middle = np.array([one.estimate for _, one in shown])
        low = np.maximum(0.0, middle - [one.low for _, one in shown])
        high = np.maximum(0.0, np.array([one.high for _, one in shown]) - middle)
        axes.errorbar(
            [place + offset for place, _ in shown],
            middle,
            yerr=np.stack([low, high]),
            fmt="o",
            markersize=5,
            capsize=3,
            color=COLOURS[index % len(COLOURS)],
            label=name,
        )
    axes.set_xticks(range(len(groups)), [name.replace("_", "\n") for name in groups])
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylabel(label)
    axes.grid(alpha=0.3, axis="y")
    if len(series) > 1:
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def draw_distances(
    points: Mapping[str, tuple[Array, Array]], lines: Mapping[str, tuple[Array, Array]], label: str
) -> Figure:
    """Draw returns against the distance from training.

    Args:
        points: For each name distances [n] and returns [n] of contexts.
        lines: For each name distances and means of groups of contexts.
        label: What the returns are.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for (name, (distances, values)), colour in zip(points.items(), COLOURS * 4, strict=False):
        axes.scatter(distances, values, s=14, alpha=0.6, color=colour, label=name)
    colours = ("#444444",) if len(lines) == 1 else COLOURS * 4
    for (name, (distances, values)), colour in zip(lines.items(), colours, strict=False):
        axes.plot(distances, values, "-", linewidth=1.5, color=colour, label=name)
    axes.set_xlabel("distance from training; the range of training is 2 wide")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def draw_profiles(values: Mapping[str, Array], label: str) -> Figure:
    """Draw for each name which share of runs and contexts lies above a score.

    Args:
        values: Scores of any shape by name.
        label: What the scores are.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    every = np.concatenate([own.reshape(-1) for own in values.values()])
    low, high = float(every.min()), float(every.max())
    margin = 0.02 * (high - low or 1.0)
    thresholds = np.linspace(low - margin, high + margin, _THRESHOLDS)
    for (name, own), colour in zip(values.items(), COLOURS * 4, strict=False):
        axes.step(thresholds, performance_profile(own, thresholds), where="post", color=colour, label=name)
    axes.set_xlabel(label)
    axes.set_ylabel("share of contexts above it")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure
