"""Pictures of adaptation: the return against the episodes of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hyperrl.evaluation.statistics import Interval
from hyperrl.evaluation.zero_shot.context_figure import COLOURS

_COLUMNS = 3
_MANY = 40  # From as many points on, markers would hide the line.


def draw_curves(panels: Mapping[str, Mapping[str, Sequence[Interval]]], label: str) -> Figure:
    """Draw returns after 0, 1, 2, ... episodes of data, with their intervals.

    Args:
        panels: For each panel, by its title, the curves by their names in the legend.
        label: What the returns are.
    """
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    size = (6.0, 3.8) if len(panels) == 1 else (3.6 * columns + 0.6, 3.1 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    every = figure.subplots(rows, columns, sharex=True, squeeze=False).reshape(-1)
    for axes, (title, curves) in zip(every, panels.items(), strict=False):
        for index, (name, curve) in enumerate(curves.items()):
            colour = COLOURS[index % len(COLOURS)]
            episodes = range(len(curve))
            low, high = [one.low for one in curve], [one.high for one in curve]
            axes.fill_between(episodes, low, high, color=colour, alpha=0.2, linewidth=0)
            marker = "o" if len(curve) < _MANY else ""
            estimates = [one.estimate for one in curve]
            axes.plot(episodes, estimates, marker=marker, markersize=4, color=colour, label=name)
        axes.set_title(title, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    for axes in every[len(panels) :]:
        axes.remove()
    figure.supxlabel("episodes of data in the task", fontsize=10)
    figure.supylabel(label, fontsize=10)
    handles, names = every[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, fontsize=9)
    return figure
