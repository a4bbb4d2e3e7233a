"""The second verb: measure the policy of a run on episodes that it has never seen."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hyperrl.config import RunConfig
from hyperrl.environments import make_env
from hyperrl.evaluation.architectures import has_architectures, policy_of
from hyperrl.evaluation.rollout import Episode, play_episodes
from hyperrl.evaluation.statistics import Interval, bootstrap_interval, iqm
from hyperrl.evaluation.zero_shot.evaluating import ZeroShot, evaluate_zero_shot, report_zero_shot
from hyperrl.loading import load_agent
from hyperrl.ranges import whole
from hyperrl.run import RunFolder
from hyperrl.run.files import write_text
from hyperrl.run.manifest import available_cores
from hyperrl.run.seeding import seeds_of_evaluation
from hyperrl.sb3.meta.trials import as_trained
from hyperrl.sb3.normalising import OnRawObservations

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

__all__ = ["Evaluation", "ZeroShot", "evaluate", "evaluate_zero_shot", "report_zero_shot"]


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        folder: The run's folder.
        checkpoint: Name of the checkpoint.
        steps: Environment steps that its weights had been trained for.
        architecture: Hidden widths of the policy that acted, empty where the agent has one architecture.
        episodes: The episodes played.
        mean: Mean return with its 95 % bootstrap interval.
        iqm: Interquartile mean of the returns with its 95 % bootstrap interval.
        file: The table of the episodes, in CSV; None where the folder cannot be written.
    """

    folder: RunFolder
    checkpoint: str
    steps: int
    architecture: tuple[int, ...]
    episodes: tuple[Episode, ...]
    mean: Interval
    iqm: Interval
    file: Path | None


def evaluate(
    run_dir: str | Path,
    episodes: int = 20,
    *,
    seed: int = 0,
    checkpoint: str = "latest",
    architecture: Sequence[int] | None = None,
) -> Evaluation:
    """Play deterministic episodes with fresh seeds and write `eval/episodes.csv`.

    Args:
        run_dir: The run's folder.
        episodes: How many episodes.
        seed: Seed of the evaluation; the same seed plays the same episodes.
        checkpoint: "latest", "best" or a number of steps.
        architecture: Which policy acts, by its hidden widths, where the agent has several; None for the one
            that `predict` takes.

    Returns:
        The episodes and their statistics.

    Raises:
        HyperRLError: There is no such run or checkpoint, or a number is out of range.
    """
    count = int(whole(1, 100_000).check("episodes", episodes))
    folder = RunFolder.open(run_dir)
    config = folder.config()
    seeds = seeds_of_evaluation(config.seed, seed, count)
    torch.set_num_threads(min(config.threads, available_cores()))
    agent, steps = load_agent(folder, checkpoint)
    env = as_trained(agent, make_env(config.env, config.env_kwargs))
    try:
        acting = _acting(agent, config.agent, architecture)
        policy = OnRawObservations(agent, **({"architecture": acting} if acting else {}))
        played = tuple(play_episodes(policy, env, seeds))
    finally:
        env.close()
        if agent.env is not None:
            agent.env.close()
    returns = [episode.episode_return for episode in played]
    file = folder.evaluation / "episodes.csv"
    try:
        _write_episodes(file, config, checkpoint, steps, played, acting)
        written: Path | None = file
    except OSError as error:
        # Somebody else's run, or a full disk: the result is worth having all the same.
        warnings.warn(f"{file} cannot be written: {error.strerror or error}", stacklevel=2)
        written = None
    intervals = bootstrap_interval(returns), bootstrap_interval(returns, iqm)
    return Evaluation(folder, checkpoint, steps, acting, played, *intervals, written)


def _acting(agent: BaseAlgorithm, name: str, architecture: Sequence[int] | None) -> tuple[int, ...]:
    """Return the hidden widths of the policy that acts, none where the agent has one architecture."""
    if architecture is None:
        return policy_of(agent, name).default_architecture if has_architectures(agent) else ()
    policy_of(agent, name).space.index(architecture)
    return tuple(architecture)


def _write_episodes(
    file: Path,
    config: RunConfig,
    checkpoint: str,
    steps: int,
    episodes: tuple[Episode, ...],
    architecture: Sequence[int],
) -> None:
    """Write one row for each episode; the names repeat so that tables of several runs can be joined."""
    widths = "-".join(map(str, architecture))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        [
            "env",
            "agent",
            "run_seed",
            "checkpoint",
            "steps",
            "architecture",
            "episode",
            "seed",
            "return",
            "length",
            "terminated",
        ]
    )
    for index, episode in enumerate(episodes):
        names = [config.env, config.agent, config.seed, checkpoint, steps, widths, index]
        writer.writerow(
            [*names, episode.seed, episode.episode_return, episode.length, int(episode.terminated)]
        )
    file.parent.mkdir(exist_ok=True)
    write_text(file, text.getvalue())
