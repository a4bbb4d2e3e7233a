"""Runs of several seeds at once: how they are built and evaluated, and one run folder for each seed."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from hyperrl.agent_arguments import build_agent
from hyperrl.config import RunConfig
from hyperrl.environments import make_training_envs, make_vec_env
from hyperrl.evaluation.stacked import play_stacked
from hyperrl.run import RunFolder
from hyperrl.run.adopt import write_only_checkpoint
from hyperrl.run.seeding import Seeds, seeds_of_run
from hyperrl.sb3.seed_parts import seed_environments
from hyperrl.sb3.seed_stack import SeedStack
from hyperrl_envs.native import supports


def build_stack(config: RunConfig, cls: type[Any], agent_kwargs: Mapping[str, Any]) -> BaseAlgorithm:
    """Build the agents of a run with several seeds.

    Args:
        config: The run's configuration.
        cls: The agents' class.
        agent_kwargs: Their arguments, as `hyperrl.agent_arguments.build_agent_kwargs` returns them.

    Raises:
        HyperRLError: They cannot be built, or not be trained at once.
    """
    seeds = _seeds(config)
    venv = make_training_envs(config, seeds[0].envs)
    settings = {"seeds": [each.agent for each in seeds], "device": config.device, **agent_kwargs}
    build: Any = partial(SeedStack, cls)
    agent = build_agent(config.agent, build, config.policy, venv, settings)
    seed_environments(venv, [each.envs for each in seeds])
    return agent


def evaluate_stack(
    config: RunConfig,
) -> tuple[Callable[[BaseAlgorithm, Callable[[], None]], list[float]], Callable[[], None]]:
    """Return what plays the evaluation episodes of all seeds, and what closes its environments.

    Args:
        config: The run's configuration.
    """
    seeds = [each.evaluation for each in _seeds(config)]
    count = config.seeds * config.eval_episodes
    native = config.native and supports(config.env)
    venv = make_vec_env(config.env, config.env_kwargs, count, 0, native=native)

    def returns_of(agent: BaseAlgorithm, check: Callable[[], None]) -> list[float]:
        return [value for each in play_stacked(agent, venv, seeds, check) for value in each]

    return returns_of, venv.close


def seeds_without_folder(config: RunConfig, folder: RunFolder, steps: int) -> dict[int, Path]:
    """Return the seeds that have no run folder of their own yet, and where it belongs.

    Args:
        config: The run's configuration.
        folder: Its folder.
        steps: Steps that the run has done. A folder of fewer steps is an older one, unless it was continued.
    """
    places = {
        seed: folder.path / "seeds" / str(seed) for seed in range(config.seed, config.seed + config.seeds)
    }
    return {seed: path for seed, path in places.items() if not _is_there(path, steps)}


def write_seed_folders(
    stack: BaseAlgorithm,
    config: RunConfig,
    folder: RunFolder,
    build: Callable[[RunConfig], BaseAlgorithm],
) -> None:
    """Give each seed a run folder of its own, with its weights, optimisers and evaluations.

    They can be evaluated, exported and continued as any run. Transitions stay with the whole run: a seed
    that is continued alone collects new ones first. A folder of fewer steps, from before the run was made
    longer, gets the number of its steps as part of its name.

    Args:
        stack: The agents at the end of the run.
        config: The run's configuration.
        folder: Its folder.
        build: Builds the agent of an ordinary run.
    """
    assert isinstance(stack, SeedStack)
    agents = dict(zip(range(config.seed, config.seed + config.seeds), stack.agents, strict=True))
    for seed, path in seeds_without_folder(config, folder, stack.num_timesteps).items():
        part = path.with_name(f".{seed}.part")
        shutil.rmtree(part, ignore_errors=True)
        own = dataclasses.replace(config, seed=seed, seeds=1, out=None)
        single = build(own)
        try:
            trained: Any = agents[seed].get_parameters()
            single.set_parameters(trained, device="cpu")
            made = RunFolder.create(own, part)
            history = _copy_evaluations(folder, made, seed)
            write_only_checkpoint(single, own, made, stack.num_timesteps, history)
            made.set_status("finished", stack.num_timesteps)
        finally:
            if single.env is not None:
                single.env.close()
        if path.is_dir():
            os.replace(path, path.with_name(f"{seed}-{RunFolder.open(path).status()['steps']}-steps"))
        os.replace(part, path)


def _is_there(path: Path, steps: int) -> bool:
    if not path.is_dir():
        return False
    single = RunFolder.open(path)
    return bool(single.status()["steps"] >= steps or single.manifest().get("resumed"))


def _seeds(config: RunConfig) -> list[Seeds]:
    return [seeds_of_run(config.seed + index, config.eval_episodes) for index in range(config.seeds)]


def _copy_evaluations(folder: RunFolder, single: RunFolder, seed: int) -> dict[str, Any]:
    """Write one seed's evaluations into its folder and return what `Evaluations.restore` takes."""
    with (folder.evaluation / "evaluations.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["seed"] == str(seed)]
    names = [name for name in rows[0] if name != "seed"]
    with (single.evaluation / "evaluations.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    returns: dict[int, list[float]] = {}
    for row in rows:
        returns.setdefault(int(row["steps"]), []).append(float(row["return"]))
    means = {steps: float(np.mean(values)) for steps, values in returns.items()}
    best = max(means, key=lambda steps: means[steps])
    last = max(means)
    return {
        "seconds": float(rows[-1]["seconds"]),
        "best": means[best],
        "best_steps": best,
        "first_return": means[min(means)],
        "last_return": means[last],
        "last_steps": last,
    }
