"""Pictures of learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from hyperrl.bench.curves import AXES, Curve, band, select
from hyperrl.errors import RunFolderError

_LABELS = {
    "step": "environment steps",
    "cpu_seconds": "CPU seconds of learning",
    "wall_seconds": "seconds of learning by the wall's clock",
}


def plot(curves: Sequence[Curve], env: str, path: Path) -> None:
    """Draw return against steps, CPU time and time: mean over seeds, 95 % t intervals, and every seed thinly.

    Args:
        curves: Curves of any agents and environments.
        env: The environment to draw.
        path: The PNG to write.

    Raises:
        RunFolderError: It cannot be written.
    """
    agents = sorted({curve.agent for curve in curves if curve.env == env})
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for axes, axis in zip(figure.subplots(1, len(AXES), sharey=True), AXES, strict=True):
        for index, agent in enumerate(agents):
            own, colour = select(curves, env, agent), colours[index % len(colours)]
            for curve in own:
                axes.plot(getattr(curve, axis), curve.returns, color=colour, linewidth=0.6, alpha=0.4)
            positions, intervals = band(own, axis)
            label = f"{agent}, {len(own)} seed{'s' if len(own) > 1 else ''}"
            axes.plot(positions, [interval.estimate for interval in intervals], color=colour, label=label)
            axes.fill_between(
                positions,
                [i.low for i in intervals],
                [i.high for i in intervals],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
        axes.set_xlabel(_LABELS[axis])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean return of the deterministic policy")
    figure.axes[0].legend(loc="upper left")
    spread = [curve.returns for curve in curves if curve.env == env]
    low, high = min(float(r.min()) for r in spread), max(float(r.max()) for r in spread)
    # An interval over few seeds can be far wider than anything that was measured.
    margin = 0.25 * (high - low) + 1e-9
    figure.axes[0].set_ylim(low - margin, high + margin)
    figure.suptitle(f"{env}: mean over seeds, 95 % t intervals; thin lines are seeds")
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror}") from error
