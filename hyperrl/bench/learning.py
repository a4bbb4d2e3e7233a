"""Learning curves: agents x environments x seeds, one process and one CSV for each run.

The protocol: an agent is built from its preset, with one environment seeded by Stable-Baselines3 with the
run's seed, and trained on one torch thread. Before the first step and after every `eval_every` steps the
deterministic policy plays `eval_episodes` episodes on a new environment, reset with the seeds 10,000, 10,001
and so on, the same in all runs. The clocks stand still meanwhile.
"""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hyperrl.bench.report import open_folder, read_manifest, record
from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, RunFolderError
from hyperrl.presets import resolve
from hyperrl.ranges import whole

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

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


@dataclass(frozen=True)
class Sweep:
    """What is to be run.

    Attributes:
        agents: Names of agents.
        envs: Gymnasium ids of environments.
        seeds: Seeds of the runs.
        steps: Environment steps of each run.
        preset: Preset of all agents.
        settings: Texts "key=value" that change the preset.
        eval_every: Steps between two evaluations.
        eval_episodes: Episodes of an evaluation.
        device: "cpu" or "cuda".
    """

    agents: Sequence[str]
    envs: Sequence[str]
    seeds: Sequence[int]
    steps: int
    preset: str = "default"
    settings: Sequence[str] = ()
    eval_every: int = 5000
    eval_episodes: int = 5
    device: str = "cpu"

    def runs(self, folder: Path) -> list[LearningRun]:
        """All runs, seed by seed, so that every agent has its first curve early.

        Args:
            folder: Where the CSVs go.

        Raises:
            HyperRLError: A name is unknown or a number is out of range; nothing has been started.
        """
        for name in ("agents", "envs", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"a sweep needs at least one of the {name}")
        whole(1).check("eval_every", self.eval_every)
        runs = []
        for seed in dict.fromkeys(self.seeds):
            for env in dict.fromkeys(self.envs):
                runs += [self._run(agent, env, seed, folder) for agent in dict.fromkeys(self.agents)]
        return runs

    def _run(self, agent: str, env: str, seed: int, folder: Path) -> LearningRun:
        flags = {name: getattr(self, name) for name in ("steps", "preset", "device")}
        flags |= {"eval_every": self.eval_every, "eval_episodes": self.eval_episodes, "n_envs": 1, "threads": 1}
        config = resolve(agent, {**flags, "env": env, "seed": seed}, settings=self.settings).config
        _check(config)
        label = agent if self.preset == "default" else f"{agent}@{self.preset}"
        return LearningRun(label, config, folder)


def sweep(plan: Sweep, folder: Path, workers: int) -> list[LearningRun]:
    """Do all runs that are not finished yet, several at a time.

    Args:
        plan: What is to be run.
        folder: Where the CSVs and the manifest go.
        workers: Number of processes.

    Returns:
        All runs of the plan, finished.

    Raises:
        ConfigError: Something in the plan is wrong, or finished runs in the folder had other settings; nothing
            has been started.
        RunFolderError: The folder cannot be written, or a run failed; the others went on.
    """
    whole(1, 1024).check("workers", workers)
    runs = plan.runs(folder)
    open_folder(folder)
    settings = _settings_of(runs, read_manifest(folder))
    record(folder, "learning", min(plan.seeds), runs=settings)
    waiting = [run for run in runs if not run.path.exists()]
    print(f"{len(runs)} runs, of which {len(runs) - len(waiting)} are finished", flush=True)
    if waiting:
        _run_all(waiting, workers)
    return runs


def _run_all(waiting: list[LearningRun], workers: int) -> None:
    # Children read these when they load their numerical libraries.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    context = get_context("spawn")
    failures = []
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, max_tasks_per_child=1)
    try:
        futures = {pool.submit(learn, run): run for run in waiting}
        for done, future in enumerate(as_completed(futures), start=1):
            run, error = futures[future], future.exception()
            if error is not None:
                failures.append(f"{run.path.name}: {type(error).__name__}: {error}")
            print(f"[{done}/{len(waiting)}] {run.path.name} {'failed' if error else 'done'}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        raise RunFolderError(f"{len(failures)} of {len(waiting)} runs failed, the first as {failures[0]}")


def learn(run: LearningRun) -> Path:
    """Do one run in this process.

    Args:
        run: The run.

    Returns:
        The CSV, which holds all evaluations. A run that is cut short leaves the part file instead.
    """
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(1)
    config = run.config
    agent = _build(config)
    with run.part.open("w", newline="", encoding="utf-8") as file:
        curve = _Curve(run, file)

        class Evaluate(BaseCallback):
            """Evaluate before the first step and after every so many."""

            def _on_training_start(self) -> None:
                curve.start()
                curve.evaluate(self.model, self.num_timesteps)

            def _on_step(self) -> bool:
                if self.num_timesteps % config.eval_every == 0:
                    curve.evaluate(self.model, self.num_timesteps)
                return True

        agent.learn(config.steps, callback=Evaluate())
    os.replace(run.part, run.path)
    return run.path


class _Curve:
    """Evaluations of one run as they are written, and clocks that leave them out."""

    def __init__(self, run: LearningRun, file: TextIO) -> None:
        self.run = run
        self.file = file
        self.writer = csv.writer(file)
        self.writer.writerow(COLUMNS)

    def start(self) -> None:
        self.wall_start, self.cpu_start = time.perf_counter(), time.process_time()
        self.wall_paused = self.cpu_paused = 0.0

    def evaluate(self, agent: BaseAlgorithm, step: int) -> None:
        from hyperrl.environments import make_env
        from hyperrl.evaluation.rollout import play_episodes

        wall_now, cpu_now = time.perf_counter(), time.process_time()
        wall = round(wall_now - self.wall_start - self.wall_paused, 2)
        cpu = round(cpu_now - self.cpu_start - self.cpu_paused, 2)
        config = self.run.config
        seeds = range(_FIRST_SEED, _FIRST_SEED + config.eval_episodes)
        env = make_env(config.env, config.env_kwargs)
        for index, episode in enumerate(play_episodes(agent, env, seeds)):
            row = [self.run.label, config.env, config.seed, step, index]
            self.writer.writerow([*row, round(episode.episode_return, 3), episode.length, wall, cpu])
        env.close()
        self.file.flush()
        self.wall_paused += time.perf_counter() - wall_now
        self.cpu_paused += time.process_time() - cpu_now


def _build(config: RunConfig) -> BaseAlgorithm:
    from hyperrl.agent_arguments import build_agent_kwargs
    from hyperrl.environments import check_spaces, make_env
    from hyperrl.registry import agents

    env = make_env(config.env, config.env_kwargs)
    size = check_spaces(env, config.agent, config.policy)
    kwargs = build_agent_kwargs(config.agent_kwargs, size)
    agent: BaseAlgorithm = agents.get(config.agent)(
        config.policy, env, seed=config.seed, device=config.device, **kwargs
    )
    return agent


def _check(config: RunConfig) -> None:
    from hyperrl.train import check

    check(config)


def _settings_of(runs: list[LearningRun], manifest: dict[str, Any]) -> dict[str, Any]:
    """Settings of all runs in the folder by file name, refusing to mix finished ones with other settings."""
    known = dict(manifest.get("learning", {}).get("runs", {}))
    for run in runs:
        now = asdict(run.config)
        before = known.get(run.path.name)
        if run.path.exists() and before is not None and before != now:
            names = [name for name in now if now[name] != before.get(name)]
            raise ConfigError(
                f"{run.path} was made with another {' and '.join(names)}: choose another folder for this sweep"
            )
        known[run.path.name] = now
    return known


def _start_worker() -> None:
    # Ctrl-C reaches all processes of the terminal; only the first has something to say about it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
