"""Many learning curves: agents x environments x seeds on a pool of processes, to be resumed at any time."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hyperrl.bench.learning import LearningRun, learn
from hyperrl.bench.report import open_folder, read_manifest, record
from hyperrl.env_process.guards import die_with_parent
from hyperrl.errors import ConfigError, RunFolderError
from hyperrl.presets import resolve
from hyperrl.ranges import whole
from hyperrl.train import check


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
                raise ConfigError(f"a sweep needs {name}: at least one")
        whole(1).check("eval_every", self.eval_every)
        runs = []
        for seed in dict.fromkeys(self.seeds):
            for env in dict.fromkeys(self.envs):
                runs += [self._run(agent, env, seed, folder) for agent in dict.fromkeys(self.agents)]
        return runs

    def _run(self, agent: str, env: str, seed: int, folder: Path) -> LearningRun:
        flags = {name: getattr(self, name) for name in ("steps", "preset", "device")}
        flags |= {
            "eval_every": self.eval_every,
            "eval_episodes": self.eval_episodes,
            "n_envs": 1,
            "threads": 1,
        }
        config = resolve(agent, {**flags, "env": env, "seed": seed}, settings=self.settings).config
        check(config)
        return LearningRun(agent if self.preset == "default" else f"{agent}@{self.preset}", config, folder)


def sweep(plan: Sweep, folder: Path, workers: int) -> list[LearningRun]:
    """Do all runs that are not finished yet, several at a time.

    Args:
        plan: What is to be run.
        folder: Where the CSVs and the manifest go.
        workers: Number of processes.

    Returns:
        All runs of the plan, finished.

    Raises:
        HyperRLError: Something in the plan is wrong, or runs in the folder had other settings; nothing has
            been started.
        RunFolderError: The folder cannot be written, or a run failed; the others went on.
    """
    count = int(whole(1, 1024).check("workers", workers))
    runs = plan.runs(folder)
    open_folder(folder)
    _refuse_other_settings(runs, read_manifest(folder))
    waiting = [run for run in runs if not run.path.exists()]
    record(
        folder, {run.path.name: {"seed": run.config.seed, "config": asdict(run.config)} for run in waiting}
    )
    print(f"{len(runs)} runs, {len(runs) - len(waiting)} of them finished before", flush=True)
    if waiting:
        _run_all(waiting, count)
    return runs


def _run_all(waiting: list[LearningRun], workers: int) -> None:
    # The children read these when they load their numerical libraries.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    failures = []
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, max_tasks_per_child=1
    )
    try:
        futures = {pool.submit(learn, run): run for run in waiting}
        for done, future in enumerate(as_completed(futures), start=1):
            name, error = futures[future].path.name, future.exception()
            if error is not None:
                failures.append(f"{name}: {type(error).__name__}: {error}")
            print(f"[{done}/{len(waiting)}] {name} {'done' if error is None else 'failed'}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        raise RunFolderError(f"{len(failures)} of {len(waiting)} runs failed, the first was {failures[0]}")


def _refuse_other_settings(runs: list[LearningRun], manifest: dict[str, Any]) -> None:
    for run in runs:
        now, before = asdict(run.config), manifest.get(run.path.name, {}).get("config")
        if run.path.exists() and before is not None and before != now:
            names = [name for name in now if now[name] != before.get(name)]
            raise ConfigError(
                f"{run.path} was made with other {' and '.join(names)}: choose another folder for this sweep"
            )


def _start_worker() -> None:
    # Ctrl-C reaches all processes of the terminal; only the first has something to say about it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A sweep that is killed must not leave runs behind that nobody waits for.
    die_with_parent(os.getppid(), "spawn", by_kernel=False)
