"""Pictures of returns over the contexts themselves: a line, a map, or one panel for each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hyperrl.context import ContextParam, Splits
from hyperrl.context.region import gaps
from hyperrl.context.space import Array
from hyperrl.context.splits import TRAIN
from hyperrl.evaluation.statistics import bootstrap_interval

COLOURS = ("#1f5fa8", "#d9792b", "#3b8f4a", "#a3427f", "#6d5bb0", "#8a6d3b", "#3a9fa6", "#7a7a7a")
"""One for each split or method."""

_RESAMPLES = 500  # Of the interval of a single context, which is drawn and never quoted.
_PIXELS = 160
_MARKERS = "osD^vPX*"


def draw_contexts(
    splits: Splits, returns: Mapping[str, Array], experts: Array | None = None, label: str = "mean return"
) -> Figure:
    """Draw the return in every context.

    Args:
        splits: The contexts; those of training are shown, too.
        returns: Returns by split, [contexts, episodes].
        experts: What experts would earn in the contexts of all splits, one after the other; only drawn along
            a line.
        label: What the returns are.
    """
    if len(splits.space) == 1:
        return _line(splits, returns, experts, label)
    return _map(splits, returns, label) if len(splits.space) == 2 else _panels(splits, returns, label)


def draw_methods(splits: Splits, returns: Mapping[str, Mapping[str, Array]]) -> Figure | None:
    """Draw the mean returns of several methods in every context; None for more than two parameters.

    Args:
        splits: The contexts.
        returns: By method and split the mean returns of its runs, [contexts, runs].
    """
    if len(splits.space) == 1:
        return _lines(splits, returns)
    if len(splits.space) > 2:
        return None
    columns = min(len(returns), 3)
    rows = -(-len(returns) // columns)
    figure = Figure(figsize=(3.4 * columns + 0.8, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    means = [values.mean() for own in returns.values() for table in own.values() for values in table]
    for axes in panels.flat[len(returns) :]:
        axes.set_axis_off()
    drawn = []
    for axes, (name, own) in zip(panels.flat, returns.items(), strict=False):
        drawn.append(_ground(axes, splits, own, (min(means), max(means))))
        axes.set_title(name, fontsize=10)
    figure.colorbar(drawn[0], ax=panels, label="mean return")
    return figure


def axis_label(param: ContextParam) -> str:
    """Return a parameter's name, with its unit where it has one."""
    return param.name if param.unit in ("", "1") else f"{param.name} in {param.unit}"


def _line(splits: Splits, returns: Mapping[str, Array], experts: Array | None, label: str) -> Figure:
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes, param = figure.add_subplot(), splits.space.params[0]
    _shade(axes, splits, 0)
    for (name, values), colour, marker in zip(returns.items(), COLOURS, _MARKERS, strict=False):
        order = np.argsort(splits.contexts(name)[:, 0])
        ends = [bootstrap_interval(values[row], resamples=_RESAMPLES) for row in order]
        means = values[order].mean(axis=1)
        low = np.maximum(0.0, means - [end.low for end in ends])
        high = np.maximum(0.0, [end.high for end in ends] - means)
        axes.errorbar(
            splits.contexts(name)[order, 0],
            means,
            yerr=np.stack([low, high]),
            fmt=marker,
            markersize=4,
            linewidth=1,
            color=colour,
            label=name,
        )
    order, places = _along(param, np.concatenate([splits.contexts(name)[:, 0] for name in returns]))
    means = np.concatenate([values.mean(axis=1) for values in returns.values()])
    axes.plot(places, means[order], linewidth=0.8, color="#888888", zorder=0)
    if experts is not None:
        axes.plot(places, experts[order], "--", color="black", linewidth=1, label="expert")
    _scale(axes, param)
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def _lines(splits: Splits, returns: Mapping[str, Mapping[str, Array]]) -> Figure:
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes, param = figure.add_subplot(), splits.space.params[0]
    _shade(axes, splits, 0)
    for (name, own), colour in zip(returns.items(), COLOURS * 4, strict=False):
        order, places = _along(param, np.concatenate([splits.contexts(split)[:, 0] for split in own]))
        values = np.concatenate(list(own.values()))[order]
        axes.plot(places, values.mean(axis=1), ".-", linewidth=1, color=colour, label=name)
        ends = values.min(axis=1), values.max(axis=1)
        axes.fill_between(places, *ends, color=colour, alpha=0.15, linewidth=0)
    _scale(axes, param)
    axes.set_ylabel("mean return")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def _along(param: ContextParam, places: Array) -> tuple[NDArray[np.int64], Array]:
    """Return an order of points [n] along a parameter, and where they are then drawn.

    On a circle the last one comes before the first once more, and the first behind the last: a line through
    them goes on across the ends.
    """
    order = np.argsort(places)
    if not param.periodic:
        return order, places[order]
    order = np.concatenate([order[-1:], order, order[:1]])
    drawn, turn = places[order], param.high - param.low
    drawn[0] -= turn
    drawn[-1] += turn
    return order, drawn


def _scale(axes: Axes, param: ContextParam) -> None:
    """Let the x axis be a parameter's."""
    if param.log:
        axes.set_xscale("log")
    if param.periodic:
        axes.set_xlim(param.low, param.high)
    axes.set_xlabel(axis_label(param))


def _map(splits: Splits, returns: Mapping[str, Array], label: str) -> Figure:
    figure = Figure(figsize=(6, 4.9), layout="constrained")
    axes = figure.add_subplot()
    means = np.concatenate([values.mean(axis=1) for values in returns.values()])
    shown = _ground(axes, splits, returns, (float(means.min()), float(means.max())))
    figure.colorbar(shown, ax=axes, label=label)
    handles, names = axes.get_legend_handles_labels()
    for index in range(len(returns)):
        # The colour of a mark is its return; in the legend its form counts.
        handles[index] = Line2D([], [], linestyle="", marker=_MARKERS[index], color="#555555")
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _ground(
    axes: Axes, splits: Splits, returns: Mapping[str, Array], ends: tuple[float, float]
) -> PathCollection:
    """Draw a map of the plane and its contexts; the marks of splits come first in the legend."""
    contexts = np.concatenate([splits.contexts(name) for name in returns])
    means = np.concatenate([values.mean(axis=1) for values in returns.values()])
    low, high = ends
    scale: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high if high > low else low + 1.0}
    first, second = (_pixels(splits, column) for column in (0, 1))
    pixels = np.stack(np.meshgrid(first, second, indexing="xy"), axis=-1)
    ground = means[_nearest(splits, pixels, contexts)]
    axes.pcolormesh(first, second, ground, shading="nearest", alpha=0.45, **scale)
    start = 0
    for (name, values), marker in zip(returns.items(), _MARKERS, strict=False):
        own = slice(start, start + len(values))
        start = own.stop
        shown = axes.scatter(
            contexts[own, 0],
            contexts[own, 1],
            c=means[own],
            s=42,
            marker=marker,
            edgecolors="white",
            linewidths=0.7,
            label=name,
            clip_on=False,
            zorder=3,
            **scale,
        )
    _outline(axes, splits)
    for param, set_scale, set_label in (
        (splits.space.params[0], axes.set_xscale, axes.set_xlabel),
        (splits.space.params[1], axes.set_yscale, axes.set_ylabel),
    ):
        if param.log:
            set_scale("log")
        set_label(axis_label(param))
    return shown


def _panels(splits: Splits, returns: Mapping[str, Array], label: str) -> Figure:
    count = len(splits.space)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.6 * columns, 2.5 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for index, axes in enumerate(panels.flat):
        if index >= count:
            axes.set_axis_off()
            continue
        _shade(axes, splits, index)
        for (name, values), colour, marker in zip(returns.items(), COLOURS, _MARKERS, strict=False):
            places = splits.contexts(name)[:, index]
            axes.scatter(places, values.mean(axis=1), s=14, marker=marker, color=colour, label=name)
        if splits.space.params[index].log:
            axes.set_xscale("log")
        axes.set_xlabel(axis_label(splits.space.params[index]))
        axes.grid(alpha=0.3)
    for row in panels:
        row[0].set_ylabel(label)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _shade(axes: Axes, splits: Splits, column: int) -> None:
    """Show where training was, along one parameter."""
    if splits.region is not None:
        spans = {
            (low[column], high[column]) for low, high in splits.region.boxes if high[column] > low[column]
        }
        for number, (low, high) in enumerate(sorted(spans)):
            label = "_" if number else "region of training"
            axes.axvspan(low, high, color="#1f5fa8", alpha=0.08, linewidth=0, label=label)
        return
    points = np.unique(splits.contexts(TRAIN)[:, column])
    for number, point in enumerate(points):
        label = "_" if number else "trained here"
        axes.axvline(point, color="#1f5fa8", alpha=0.25, linewidth=1, label=label)


def _outline(axes: Axes, splits: Splits) -> None:
    """Show where training was, in the plane."""
    if splits.region is None:
        points = splits.contexts(TRAIN)
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=110,
            facecolors="none",
            edgecolors="black",
            linewidths=1.2,
            label="trained here",
        )
        return
    for number, (low, high) in enumerate(splits.region.boxes):
        width, height = high[0] - low[0], high[1] - low[1]
        label = "_" if number else "region of training"
        axes.add_patch(Rectangle((low[0], low[1]), width, height, fill=False, linewidth=1.5, label=label))


def _pixels(splits: Splits, column: int) -> Array:
    param = splits.space.params[column]
    spaced = np.geomspace if param.log else np.linspace
    places: Array = spaced(param.low, param.high, _PIXELS)
    return places


def _nearest(splits: Splits, pixels: Array, contexts: Array) -> NDArray[np.int64]:
    """Return which context is nearest to each pixel [height, width, 2], in normalised units."""
    places, own = splits.space.normalise(pixels), splits.space.normalise(contexts)
    squares: Sequence[Array] = [
        (gaps(splits.space, row[:, None], own[None], own[None]) ** 2).sum(axis=-1) for row in places
    ]
    return np.stack([square.argmin(axis=1) for square in squares])
