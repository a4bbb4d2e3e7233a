"""One learning curve: train an agent, evaluate it at fixed steps, write one CSV.

The protocol: an agent is built from its preset, with one environment seeded by Stable-Baselines3 with the
run's seed, and trained on one torch thread. Before the first step and after every `eval_every` steps the
deterministic policy plays `eval_episodes` episodes on a new environment, reset with the seeds 10,000, 10,001
and so on, the same in all runs. The clocks stand still meanwhile.
"""

from __future__ import annotations

import csv
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from hyperrl.agent_arguments import build_agent_kwargs
from hyperrl.config import RunConfig
from hyperrl.environments import check_spaces, make_env
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.registry import agents

COLUMNS = (
    "agent",
    "env",
    "seed",
    "step",
    "episode",
    "return",
    "length",
    "wall_seconds",
    "cpu_seconds",
)
_FIRST_SEED = 10_000


@dataclass(frozen=True)
class LearningRun:
    """One run of a sweep.

    Attributes:
        label: Name of the agent in tables; with "@" and the preset's name unless that is the default.
        config: The resolved configuration.
        folder: Where its CSV goes.
    """

    label: str
    config: RunConfig
    folder: Path

    @property
    def path(self) -> Path:
        """The CSV; it appears when the run has ended well."""
        env = self.config.env.replace("/", "_").replace(":", "_")
        return self.folder / f"{self.label}-{env}-{self.config.seed}.csv"

    @property
    def part(self) -> Path:
        """What an unfinished run leaves."""
        return self.path.with_name(self.path.name + ".part")


def learn(run: LearningRun) -> Path:
    """Do one run in this process.

    Args:
        run: The run.

    Returns:
        The CSV, which holds all evaluations. A run that is cut short leaves the part file instead.

    Raises:
        HyperRLError: The agent cannot be built, or a value became NaN or infinite.
    """
    torch.set_num_threads(1)
    agent = _build(run.config)
    with run.part.open("w", newline="", encoding="utf-8") as file:
        agent.learn(run.config.steps, callback=CurveCallback(run, file))
    os.replace(run.part, run.path)
    return run.path


class CurveCallback(BaseCallback):
    """Evaluates before the first step and after every so many; its clocks leave the evaluations out.

    Args:
        run: The run.
        file: The CSV to write.
    """

    def __init__(self, run: LearningRun, file: TextIO) -> None:
        super().__init__()
        self.run = run
        self.file = file
        self.writer = csv.writer(file, lineterminator="\n")
        self.writer.writerow(COLUMNS)
        self.started = self.paused = (0.0, 0.0)

    def _on_training_start(self) -> None:
        self.started = _clocks()
        self._evaluate()

    def _on_step(self) -> bool:
        if self.num_timesteps % self.run.config.eval_every == 0:
            self._evaluate()
        return True

    def _evaluate(self) -> None:
        now = _clocks()
        learning = [round(now[i] - self.started[i] - self.paused[i], 2) for i in (0, 1)]
        config = self.run.config
        seeds = range(_FIRST_SEED, _FIRST_SEED + config.eval_episodes)
        env = make_env(config.env, config.env_kwargs)
        for index, episode in enumerate(play_episodes(self.model, env, seeds)):
            row = [self.run.label, config.env, config.seed, self.num_timesteps, index]
            self.writer.writerow([*row, round(episode.episode_return, 3), episode.length, *learning])
        env.close()
        self.file.flush()
        after = _clocks()
        self.paused = (self.paused[0] + after[0] - now[0], self.paused[1] + after[1] - now[1])


def _clocks() -> tuple[float, float]:
    """Seconds by the wall's clock and by the CPU time of this process."""
    return time.perf_counter(), time.process_time()


def _build(config: RunConfig) -> BaseAlgorithm:
    env = make_env(config.env, config.env_kwargs)
    size = check_spaces(env, config.agent, config.policy)
    kwargs = build_agent_kwargs(config.agent_kwargs, size)
    agent: BaseAlgorithm = agents.get(config.agent)(
        config.policy, env, seed=config.seed, device=config.device, **kwargs
    )
    return agent
