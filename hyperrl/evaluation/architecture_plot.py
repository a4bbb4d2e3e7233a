"""Pictures of returns against what policies cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hyperrl.errors import RunFolderError
from hyperrl.evaluation.choice import Candidate, pareto_front

_COSTS: tuple[tuple[str, Callable[[Candidate, str], float]], ...] = (
    ("parameters", lambda one, _: one.budget.parameters),
    ("multiply-accumulates", lambda one, _: one.budget.macs),
    ("flash in bytes", lambda one, _: one.budget.flash_bytes),
    ("microseconds on {}, longest estimate", lambda one, mcu: one.budget.microseconds(mcu)[1]),
)


def plot_architectures(candidates: Sequence[Candidate], title: str, mcu: str, path: Path) -> None:
    """Draw the return of every architecture against its costs, finalists with intervals, and the front.

    Args:
        candidates: The architectures.
        title: Above the picture.
        mcu: Name of the microcontroller whose time is drawn.
        path: The PNG to write.

    Raises:
        RunFolderError: It cannot be written.
    """
    finalists = [one for one in candidates if one.is_finalist]
    front = pareto_front(finalists)
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    for axes, (label, cost) in zip(figure.subplots(1, len(_COSTS), sharey=True), _COSTS, strict=True):
        _draw(axes, candidates, finalists, front, lambda one, cost=cost: cost(one, mcu))  # type: ignore[misc]
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label.format(mcu))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean return")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from error


def _draw(
    axes: Axes,
    candidates: Sequence[Candidate],
    finalists: Sequence[Candidate],
    front: Sequence[Candidate],
    cost: Callable[[Candidate], float],
) -> None:
    rest = [one for one in candidates if not one.is_finalist]
    axes.scatter(
        [cost(one) for one in rest], [one.returns.estimate for one in rest], s=8, alpha=0.35, label="screened"
    )
    estimates = np.array([one.returns.estimate for one in finalists])
    ends = np.array([[one.returns.low for one in finalists], [one.returns.high for one in finalists]])
    axes.errorbar(
        [cost(one) for one in finalists],
        estimates,
        yerr=np.maximum(0.0, np.stack([estimates - ends[0], ends[1] - estimates])),
        fmt="o",
        markersize=4,
        linewidth=1,
        label="finalists, 95 % interval",
    )
    axes.step(
        [cost(one) for one in front],
        [one.returns.estimate for one in front],
        where="post",
        color="black",
        linewidth=1,
        label="Pareto front",
    )
