"""How soon several seeds, trained at once, reach a return; CPU threads simulate, a device learns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from hyperrl.agent_arguments import build_agent_kwargs
from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.presets import resolve
from hyperrl.registry import agents
from hyperrl.seed_runs import build_stack, evaluate_stack

_ENV = "HalfCheetah-v5"
_ACTIONS = 6
_EPISODES = 2
# What Stable-Baselines3's zoo reports for TD3 after a million steps.
TARGET = 9656.0
_MINUTES_WANTED = 10.0


class Clock(BaseCallback):
    """Evaluates after every so many steps, its clock standing still meanwhile, and ends learning in time.

    Args:
        evaluate: Gives the mean return of each seed.
        every: Steps between evaluations.
        seconds: How long to learn.
        target: Mean return over the seeds at which to stop.
        write: Called with all rows after each evaluation.
    """

    def __init__(
        self,
        evaluate: Callable[[Any], Sequence[float]],
        every: int,
        seconds: float,
        target: float,
        write: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
    ) -> None:
        super().__init__()
        self._write = write
        self._evaluate, self._every, self._seconds, self._target = evaluate, every, seconds, target
        self.rows: list[dict[str, Any]] = []
        self._paused = 0.0
        self._start = 0.0

    def _on_training_start(self) -> None:
        self._start = time.perf_counter()
        self._take()

    def _on_step(self) -> bool:
        last = self.rows[-1]
        return bool(last["seconds"] < self._seconds and last["mean"] < self._target)

    def _on_rollout_end(self) -> None:
        if self.num_timesteps % self._every == 0 or self._elapsed() >= self._seconds:
            self._take()

    def _elapsed(self) -> float:
        return time.perf_counter() - self._start - self._paused

    def _take(self) -> None:
        before = self._elapsed()
        returns = np.asarray(self._evaluate(self.model))
        self.rows.append(
            {
                "steps": self.model.num_timesteps,
                "seconds": before,
                "mean": float(returns.mean()),
                "low": float(returns.min()),
                "high": float(returns.max()),
            }
        )
        print(
            f"{before:6.0f} s  {self.model.num_timesteps:9,} steps  return {returns.mean():8.1f}", flush=True
        )
        self._write(self.rows)
        self._paused += self._elapsed() - before


def publish(
    folder: Path,
    *,
    agent: str,
    device: str,
    seeds: int,
    minutes: float,
    threads: int,
    seed: int = 0,
    every: int = 25_000,
    compiled: bool = True,
) -> bool:
    """Train, show the curve and write `gpu-learning.csv`, on the CPU `gpu-learning-cpu.csv`.

    Args:
        folder: For the results.
        agent: Registered name of an off-policy agent.
        device: "cuda" or "cpu".
        seeds: How many seeds.
        minutes: How long to learn at most.
        threads: CPU threads that simulate, 0 for one for each seed as far as there are processors.
        seed: The first seed.
        every: Steps between evaluations.
        compiled: Whether updates are compiled.

    Returns:
        False if ten minutes or more were not enough to reach `TARGET`; less decides nothing.

    Raises:
        HyperRLError: The agent cannot be trained so, or a file cannot be written.
    """
    threads = threads or min(seeds, len(os.sched_getaffinity(0)))
    settings = {"env": _ENV, "seed": seed, "seeds": seeds, "threads": threads, "device": device}
    config = resolve(agent, {**settings, "eval_episodes": _EPISODES}).config
    kwargs = {**build_agent_kwargs(config.agent_kwargs, _ACTIONS), "compile": compiled}
    stack = build_stack(config, agents.get(agent), kwargs)
    stack.set_logger(Logger(None, []))
    returns_of, close = evaluate_stack(config)

    def evaluate(stack: Any) -> Sequence[float]:
        returns = returns_of(stack, lambda: None)
        return [float(value) for value in np.reshape(returns, (seeds, -1)).mean(axis=1)]

    common = {"agent": agent, "env": _ENV, "seeds": seeds, "device": device, "simulation_threads": threads}
    path = folder / ("gpu-learning.csv" if device == "cuda" else "gpu-learning-cpu.csv")

    def write(rows: list[dict[str, Any]]) -> None:
        # A command that is cut off leaves what it has measured.
        write_table(path, [{**common, **row, "target": TARGET, **provenance(seed, device)} for row in rows])

    clock = Clock(evaluate, every, 60 * minutes, TARGET, write)
    try:
        stack.learn(100_000_000, callback=clock)
    finally:
        close()
        assert stack.env is not None
        stack.env.close()
    rows = [{**row, "target": TARGET} for row in clock.rows]
    record(folder, {path.name: {"seed": seed, "threads": 1, "device": device, "minutes": minutes}})
    show(f"{seeds} seeds of {agent} on {_ENV}", rows, ["steps", "seconds", "mean", "low", "high", "target"])
    last = rows[-1]
    reached = last["mean"] >= TARGET
    speed = last["steps"] / max(last["seconds"], 1e-9)
    print(f"{speed:.0f} steps a second of each seed; target {'reached' if reached else 'not reached'}")
    print(path)
    return reached or minutes < _MINUTES_WANTED
