"""Learning curves as arrays: read from CSVs, brought to common times, summarised with intervals."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.bench.learning import COLUMNS
from hyperrl.errors import RunFolderError
from hyperrl.evaluation.statistics import Interval, t_interval

Array = NDArray[np.float64]
AXES = ("step", "cpu_seconds", "wall_seconds")


@dataclass(frozen=True)
class Curve:
    """One run: mean returns of the episodes of each evaluation.

    Attributes:
        agent: Label of the agent.
        env: Id of the environment.
        seed: Seed of the run.
        step: Environment steps at each evaluation, ``[T]``.
        cpu_seconds: CPU seconds of learning up to then, ``[T]``.
        wall_seconds: The same by the wall's clock, ``[T]``.
        returns: Mean return of each evaluation, ``[T]``.
    """

    agent: str
    env: str
    seed: int
    step: Array
    cpu_seconds: Array
    wall_seconds: Array
    returns: Array

    def at(self, axis: str, positions: Array) -> Array:
        """Returns at positions on an axis, linear between evaluations."""
        return np.interp(positions, getattr(self, axis), self.returns)

    def area(self) -> float:
        """Mean return over the steps of the run (trapezoids): the area under the curve over its length."""
        heights = (self.returns[1:] + self.returns[:-1]) / 2
        return float(heights @ np.diff(self.step) / (self.step[-1] - self.step[0]))


def read_curves(folder: Path) -> list[Curve]:
    """Read all finished runs in a folder.

    Args:
        folder: Folder of a sweep; other CSVs in it are passed over.

    Raises:
        RunFolderError: There is no run, or one cannot be read.
    """
    curves = []
    for path in sorted(folder.glob("*.csv")):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if tuple(reader.fieldnames or ()) == COLUMNS:
                    curves.append(_curve(list(reader)))
        except (OSError, ValueError, IndexError) as error:
            raise RunFolderError(f"{path} is no learning curve that can be read: {error}") from error
    if not curves:
        raise RunFolderError(
            f"{folder} holds no finished learning curve: make some by hyperrl bench learning"
        )
    return curves


def _curve(rows: list[dict[str, str]]) -> Curve:
    by_step: dict[int, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_step[int(row["step"])].append(row)
    steps = sorted(by_step)
    if len(steps) < 2:
        raise ValueError("it has fewer than two evaluations")

    def column(name: str) -> Array:
        return np.array([np.mean([float(row[name]) for row in by_step[step]]) for step in steps])

    head = rows[0]
    times = {name: column(name) for name in ("cpu_seconds", "wall_seconds")}
    return Curve(
        head["agent"],
        head["env"],
        int(head["seed"]),
        np.array(steps, float),
        returns=column("return"),
        **times,
    )


def select(curves: Sequence[Curve], env: str, agent: str) -> list[Curve]:
    """The curves of one agent on one environment, by seed."""
    found = [curve for curve in curves if (curve.env, curve.agent) == (env, agent)]
    return sorted(found, key=lambda curve: curve.seed)


def band(curves: Sequence[Curve], axis: str) -> tuple[Array, list[Interval]]:
    """Mean over seeds with 95 % t intervals, at common positions that all the curves reach.

    Args:
        curves: Curves of one agent on one environment.
        axis: "step", "cpu_seconds" or "wall_seconds".

    Returns:
        Positions ``[P]`` and an interval for each.
    """
    reach = min(float(getattr(curve, axis)[-1]) for curve in curves)
    first = getattr(curves[0], axis)
    positions = first[first <= reach] if axis == "step" else np.linspace(0.0, reach, len(first))
    values = np.stack([curve.at(axis, positions) for curve in curves], axis=1)
    return positions, [t_interval(row) for row in values]


def baseline_of(agent: str, agents: Sequence[str]) -> str | None:
    """What to compare with, if it is among the agents: "td3" for "hyper-td3" and for "td3@compact"."""
    plain = agent.partition("@")[0].removeprefix("hyper-")
    return plain if plain != agent and plain in agents else None


def summarise(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Summary of every agent on every environment, differences from the baseline paired by seed included.

    ``final`` is the return of the last evaluation, ``area`` the mean return over all steps, ``at_equal_cpu``
    the return when the quicker one of each pair of runs has spent all its CPU time.

    Args:
        curves: Any curves.

    Returns:
        One row per environment and agent. An interval is NaN where there is a single seed.
    """
    rows = []
    for env in sorted({curve.env for curve in curves}):
        agents = sorted({curve.agent for curve in curves if curve.env == env})
        for agent in agents:
            own = select(curves, env, agent)
            row: dict[str, Any] = {
                "env": env,
                "agent": agent,
                "seeds": len(own),
                "steps": int(own[0].step[-1]),
            }
            row |= _columns("final", [curve.returns[-1] for curve in own])
            row |= _columns("area", [curve.area() for curve in own])
            speed = [curve.cpu_seconds[-1] / curve.step[-1] * 1000 for curve in own]
            row |= _columns("cpu_seconds_per_1000_steps", speed)
            baseline = baseline_of(agent, agents)
            row |= {"baseline": baseline or "", **_differences(own, select(curves, env, baseline or ""))}
            rows.append(row)
    return rows


def _differences(own: Sequence[Curve], other: Sequence[Curve]) -> dict[str, Any]:
    by_seed = {curve.seed: curve for curve in other}
    pairs = [(curve, by_seed[curve.seed]) for curve in own if curve.seed in by_seed]
    measures: dict[str, Callable[[Curve, Curve], float]] = {
        "final_difference": lambda one, two: float(one.returns[-1] - two.returns[-1]),
        "area_difference": lambda one, two: one.area() - two.area(),
        "at_equal_cpu_difference": _at_equal_cpu,
        "cpu_ratio": lambda one, two: float(one.cpu_seconds[-1] / max(two.cpu_seconds[-1], 0.01)),
    }
    row: dict[str, Any] = {"pairs": len(pairs)}
    for name, measure in measures.items():
        row |= _columns(name, [measure(*pair) for pair in pairs])
    return row


def _at_equal_cpu(one: Curve, two: Curve) -> float:
    budget = np.array([min(one.cpu_seconds[-1], two.cpu_seconds[-1])])
    return float(one.at("cpu_seconds", budget)[0] - two.at("cpu_seconds", budget)[0])


def _columns(name: str, values: Sequence[float]) -> dict[str, float]:
    interval = t_interval(values) if values else Interval(np.nan, np.nan, np.nan)
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
