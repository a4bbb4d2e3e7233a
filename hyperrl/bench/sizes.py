"""Returns by size of the policy: one run of many architectures beside runs of one architecture each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hyperrl.architectures import architectures
from hyperrl.bench.report import read_table, show, write_table
from hyperrl.errors import RunFolderError
from hyperrl.evaluate import evaluate
from hyperrl.evaluation.architectures import has_architectures
from hyperrl.evaluation.statistics import t_interval
from hyperrl.loading import load_agent
from hyperrl.run import RunFolder
from hyperrl.sb3.plain import specialise

_SHARE = 0.9
_FEW = 6


@dataclass(frozen=True)
class Measured:
    """One architecture of one run.

    Attributes:
        agent: Name of the agent, and of its generator of weights where the run's settings name one.
        env: Id of the environment.
        seed: Seed of the run.
        architecture: Hidden widths, with hyphens between.
        parameters: Weights and biases of the policy.
        episodes: Episodes of each of two evaluations.
        picking_return: Mean return of the episodes by which architectures are picked.
        mean_return: Mean return of other episodes.
        steps: Environment steps of the run, which all of its architectures share.
        seconds: Seconds of learning of the run.
        first_return: Mean return before training.
    """

    agent: str
    env: str
    seed: int
    architecture: str
    parameters: int
    episodes: int
    picking_return: float
    mean_return: float
    steps: int
    seconds: float
    first_return: float


def publish(sweeps: Sequence[Path], folder: Path, episodes: int) -> None:
    """Evaluate all finished runs of sweeps; write `architectures.csv`, `summary.csv` and a picture.

    Args:
        sweeps: Folders of `hyperrl sweep`.
        folder: For the results.
        episodes: Episodes of each policy to pick by, and as many to report.

    Raises:
        RunFolderError: There is no finished run, or a file cannot be written.
        HyperRLError: A run cannot be evaluated.
    """
    measured = [one for run in _finished(sweeps) for one in measure(run, episodes)]
    if not measured:
        raise RunFolderError(f"there is no finished run in {', '.join(map(str, sweeps))}")
    write_table(folder / "architectures.csv", [vars(one) for one in measured])
    rows = summarise(measured)
    write_table(folder / "summary.csv", rows)
    show("Means over seeds with 95 % t intervals", rows, list(rows[0]))
    for env in sorted({one.env for one in measured}):
        plot([one for one in measured if one.env == env], folder / f"{env.replace('/', '-')}.png")
    print(folder / "summary.csv")


def measure(run: Path, episodes: int) -> list[Measured]:
    """Evaluate one run twice: all architectures of an agent that has many, the one of another.

    Args:
        run: The run's folder.
        episodes: Episodes of each of the two evaluations.
    """
    folder = RunFolder.open(run)
    config = folder.config()
    history = read_table(folder.evaluation / "evaluations.csv")
    start = [float(row["return"]) for row in history if row["steps"] == history[0]["steps"]]
    seconds, before = float(history[-1]["seconds"]), float(np.mean(start))
    generator = config.agent_kwargs.get("policy_kwargs", {}).get("generator")
    label = config.agent if generator is None else f"{config.agent} ({generator})"
    names = (label, config.env, config.seed)
    size = _size_of(folder)
    if size is None:
        picking, other = (architectures(run, screening=0, episodes=episodes, seed=seed) for seed in (0, 1))
        return [
            Measured(
                *names,
                "-".join(map(str, one.architecture)),
                one.budget.parameters,
                episodes,
                first.returns.estimate,
                one.returns.estimate,
                other.steps,
                seconds,
                before,
            )
            for first, one in zip(picking.candidates, other.candidates, strict=True)
        ]
    first, result = (evaluate(run, episodes, seed=seed) for seed in (0, 1))
    returns = first.mean.estimate, result.mean.estimate
    return [Measured(*names, *size, episodes, *returns, result.steps, seconds, before)]


def summarise(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return the best and the smallest good architecture of each agent, means over seeds.

    An architecture is good if its mean over seeds reaches 90 % of the way from the return before training to
    the agent's best one. What is picked by some episodes is reported by others.

    Args:
        measured: All architectures of all runs.
    """
    rows = []
    for env in sorted({one.env for one in measured}):
        here = [one for one in measured if one.env == env]
        shown = _of_agents_with_few(here)
        for agent in sorted({one.agent for one in here}):
            own = _by_architecture([one for one in here if one.agent == agent])
            order = sorted(own, key=lambda name: (own[name][0].parameters, name))
            picking = {name: float(np.mean([one.picking_return for one in own[name]])) for name in order}
            top = max(order, key=lambda name: picking[name])
            start = float(np.mean([one.first_return for one in own[top]]))
            floor = start + _SHARE * (picking[top] - start)
            good = [name for name in order if picking[name] >= floor]
            chosen = {"best": top} | ({"smallest with 90 %": good[0]} if good else {})
            chosen |= {name: name for name in order if name in shown}
            rows += [_row(env, agent, what, own[name], floor) for what, name in chosen.items()]
    return rows


def plot(measured: Sequence[Measured], path: Path) -> None:
    """Draw returns against parameters: every architecture, means over seeds.

    Args:
        measured: Architectures of one environment.
        path: The PNG to write.

    Raises:
        RunFolderError: It cannot be written.
    """
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for index, agent in enumerate(sorted({one.agent for one in measured})):
        means = _by_architecture([one for one in measured if one.agent == agent])
        sizes = [own[0].parameters for own in means.values()]
        intervals = [t_interval([one.mean_return for one in own]) for own in means.values()]
        estimates = np.array([one.estimate for one in intervals])
        many = len(means) > _FEW
        seeds = len({one.seed for one in measured if one.agent == agent})
        label = f"{agent}, {len(means)} architectures, {seeds} seeds"
        axes.scatter(
            sizes,
            estimates,
            s=10 if many else 30,
            alpha=0.6 if many else 1.0,
            color=colours[index],
            label=label,
        )
        if not many:
            ends = np.array([[one.low, one.high] for one in intervals]).T
            axes.errorbar(
                sizes,
                estimates,
                yerr=[estimates - ends[0], ends[1] - estimates],
                fmt="none",
                color=colours[index],
            )
    axes.set_xscale("log")
    axes.set_xlabel("parameters of the policy")
    axes.set_ylabel("mean return of the deterministic policy")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center")
    axes.set_title(f"{measured[0].env}, {measured[0].steps:,} steps for each run")
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from error


def _of_agents_with_few(measured: Sequence[Measured]) -> set[str]:
    """Return the architectures of agents that were trained with a few, to be shown of every agent."""
    own: dict[str, set[str]] = {}
    for one in measured:
        own.setdefault(one.agent, set()).add(one.architecture)
    return {name for names in own.values() if len(names) <= _FEW for name in names}


def _by_architecture(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Return the runs of each architecture, one for each seed."""
    groups: dict[str, list[Measured]] = {}
    for one in measured:
        groups.setdefault(one.architecture, []).append(one)
    return groups


def _row(env: str, agent: str, what: str, own: Sequence[Measured], floor: float) -> dict[str, Any]:
    interval = t_interval([one.mean_return for one in own])
    return {
        "env": env,
        "agent": agent,
        "which": what,
        "architecture": own[0].architecture,
        "parameters": own[0].parameters,
        "seeds": len(own),
        "mean_return": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "return_of_90_percent": floor,
        "steps": own[0].steps,
        "seconds": float(np.mean([one.seconds for one in own])),
    }


def _finished(sweeps: Sequence[Path]) -> list[Path]:
    return [
        sweep / row["name"]
        for sweep in sweeps
        for row in read_table(sweep / "runs.csv")
        if row["status"] == "finished"
    ]


def _size_of(folder: RunFolder) -> tuple[str, int] | None:
    """Return the hidden widths of a run's policy and its number of parameters, None if it has many."""
    agent, _ = load_agent(folder)
    try:
        if has_architectures(agent):
            return None
        plain = specialise(agent)
        return "-".join(map(str, plain.architecture)), plain.parameters
    finally:
        if agent.env is not None:
            agent.env.close()
