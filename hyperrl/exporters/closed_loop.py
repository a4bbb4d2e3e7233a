"""What a policy earns in its environment: the only judge of int8 weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from hyperrl.errors import ExportError
from hyperrl.evaluation.statistics import bootstrap_interval
from hyperrl.exporters.base import Act
from hyperrl.exporters.subject import EPISODES_FOR_INT8, ActingExport, Request, Subject


def evaluate_closed_loop(subject: Subject, act: Act, request: Request) -> dict[str, Any] | None:
    """Play episodes with what was exported and, for int8 weights, refuse those that lose too much.

    Args:
        subject: What was exported.
        act: The exported policy, loaded.
        request: How many episodes, and how much may be lost.

    Returns:
        JSON values for the manifest; None where no episode is asked for.

    Raises:
        ExportError: int8 weights lose too much, or there is no environment to judge them in.
    """
    int8 = request.weights == "int8"
    episodes = request.episodes or (EPISODES_FOR_INT8 if int8 else 0)
    if not episodes:
        return None
    if subject.play is None:
        raise ExportError("episodes cannot be played without an environment: name one")
    returns = np.asarray(subject.play(ActingExport(act), episodes), np.float64)
    table = _interval("return", returns)
    if not int8:
        return table
    original = np.asarray(subject.play(subject.policy, episodes), np.float64)
    # Near a return of zero a share of it would mean nothing: the spread of the episodes stands in.
    scale = max(abs(float(original.mean())), float(original.std()), 1e-9)
    lost = float(original.mean() - returns.mean()) / scale
    table.update(
        {
            **_interval("float32_return", original),
            "lost_share": lost,
            "allowed_share": request.max_loss,
            "share_of": "the larger of the absolute mean and the standard deviation of the float32 returns",
        }
    )
    if lost > request.max_loss:
        raise ExportError(
            f"int8 weights lose {100 * lost:.1f} % of the return, {original.mean():.5g} to "
            f"{returns.mean():.5g} in {episodes} episodes, more than {100 * request.max_loss:g} %: export "
            "float32 weights"
        )
    return table


def _interval(name: str, returns: Any) -> dict[str, Any]:
    interval = bootstrap_interval(returns)
    return {
        "episodes": len(returns),
        f"{name}_mean": interval.estimate,
        f"{name}_interval_95": [interval.low, interval.high],
    }
