"""What the settings of a sweep do to the returns: each setting beside the first, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperrl.bench.report import read_table, show, write_table
from hyperrl.errors import RunFolderError
from hyperrl.evaluation.statistics import Interval, t_interval

# What the table of a sweep has beside the settings that it varies.
_NOT_VARIED = frozenset(
    {"name", "agent", "env", "seed", "status", "steps", "seconds", "first_return", "last_return", "error"}
)
_Key = tuple[str, str, str]


@dataclass(frozen=True)
class History:
    """The evaluations of one finished run.

    Attributes:
        agent: Name of the agent.
        env: Id of the environment.
        setting: What the sweep varies, as "name=value" with commas between.
        seed: Seed of the run.
        rows: The rows of its `evaluations.csv`.
    """

    agent: str
    env: str
    setting: str
    seed: int
    rows: Sequence[dict[str, str]]

    def means(self) -> dict[int, float]:
        """Mean return by steps."""
        returns: dict[int, list[float]] = {}
        for row in self.rows:
            returns.setdefault(int(row["steps"]), []).append(float(row["return"]))
        return {steps: float(np.mean(values)) for steps, values in sorted(returns.items())}

    def final(self) -> float:
        """Mean return of the last evaluation."""
        return list(self.means().values())[-1]

    def area(self) -> float:
        """Mean return over the steps of the run, by trapezoids."""
        means = self.means()
        steps, values = np.array(list(means)), np.array(list(means.values()))
        return float((values[1:] + values[:-1]) / 2 @ np.diff(steps) / (steps[-1] - steps[0]))

    def seconds(self) -> float:
        """Seconds of learning."""
        return float(self.rows[-1]["seconds"])


def publish(sweeps: Sequence[Path], folder: Path) -> None:
    """Write `episodes.csv`, with every episode of every evaluation, and `summary.csv`, and show the summary.

    Args:
        sweeps: Folders of `hyperrl sweep`. Runs of the same grid may lie in several.
        folder: For the results.

    Raises:
        RunFolderError: There is no finished run, one cannot be read, or a file cannot be written.
    """
    runs = [run for sweep in sweeps for run in read(sweep)]
    if not runs:
        raise RunFolderError(f"there is no finished run in {', '.join(map(str, sweeps))}")
    episodes = [
        {"agent": run.agent, "env": run.env, "setting": run.setting, "seed": run.seed, **row}
        for run in runs
        for row in run.rows
    ]
    write_table(folder / "episodes.csv", episodes)
    rows = summarise(runs)
    write_table(folder / "summary.csv", rows)
    columns = ["agent", "setting", "seeds", "final", "area", "final_difference", "final_difference_low"]
    columns += ["final_difference_high", "area_difference", "time_ratio"]
    show("Means over seeds with 95 % t intervals; differences are paired by seed", rows, columns)
    print(folder / "summary.csv")


def read(sweep: Path) -> list[History]:
    """Return the finished runs of a sweep, in its order.

    Args:
        sweep: The folder of a sweep.

    Raises:
        RunFolderError: It is none, or a finished run cannot be read.
    """
    found = []
    for row in read_table(sweep / "runs.csv"):
        if row["status"] != "finished":
            continue
        varied = [f"{name.rpartition('.')[2]}={row[name]}" for name in row if name not in _NOT_VARIED]
        rows = read_table(sweep / row["name"] / "eval" / "evaluations.csv")
        # A run of several seeds at once tells them apart itself.
        seeds = sorted({int(one.get("seed", row["seed"])) for one in rows})
        for seed in seeds:
            own = [
                {name: value for name, value in one.items() if name != "seed"}
                for one in rows
                if int(one.get("seed", seed)) == seed
            ]
            found.append(History(row["agent"], row["env"], ", ".join(varied), seed, own))
    return found


def summarise(runs: Sequence[History]) -> list[dict[str, Any]]:
    """Return one row for each agent, environment and setting; the first setting is what others differ from.

    Args:
        runs: Finished runs.
    """
    groups: dict[_Key, dict[int, History]] = {}
    for run in runs:
        groups.setdefault((run.agent, run.env, run.setting), {})[run.seed] = run
    first: dict[tuple[str, str], dict[int, History]] = {}
    rows = []
    for (agent, env, setting), own in groups.items():
        base = first.setdefault((agent, env), own)
        shared = [seed for seed in own if seed in base]
        row: dict[str, Any] = {"agent": agent, "env": env, "setting": setting, "seeds": len(own)}
        row["steps"] = max(max(run.means()) for run in own.values())
        row |= _columns("final", [run.final() for run in own.values()])
        row |= _columns("area", [run.area() for run in own.values()])
        row["pairs"] = len(shared) if own is not base else 0
        pairs = [(own[seed], base[seed]) for seed in shared] if own is not base else []
        row |= _columns("final_difference", [one.final() - two.final() for one, two in pairs])
        row |= _columns("area_difference", [one.area() - two.area() for one, two in pairs])
        ratios = [one.seconds() / max(two.seconds(), 1e-3) for one, two in pairs]
        row["time_ratio"] = float(np.mean(ratios)) if ratios else 1.0
        rows.append(row)
    return rows


def _columns(name: str, values: Sequence[float]) -> dict[str, float | None]:
    interval = t_interval(values) if values else None
    ends: Any = (None, None, None) if interval is None else _ends(interval)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high
