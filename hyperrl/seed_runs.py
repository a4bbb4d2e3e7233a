"""Runs of several seeds at once: how they are built and evaluated, and one run folder for each seed."""

from __future__ import annotations

import csv
import dataclasses
import math
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
from hyperrl.environments import is_native, make_training_envs, make_vec_env
from hyperrl.errors import HyperRLError, RunFolderError
from hyperrl.evaluation.stacked import play_stacked
from hyperrl.run import RunFolder
from hyperrl.run.adopt import write_only_checkpoint
from hyperrl.run.seeding import Seeds, seeds_of_run
from hyperrl.sb3.seeds import SeedStack, seed_environments


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
    native = config.native and is_native(config.env, config.env_kwargs)
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
    evaluated: Mapping[str, Any],
    build: Callable[[RunConfig], BaseAlgorithm],
) -> None:
    """Give each seed a run folder of its own, with its weights, optimisers and evaluations.

    They can be evaluated, exported and continued as any run. Transitions stay with the whole run: a seed
    that is continued alone collects new ones first. Its weights are the last ones, and count as the best. A
    folder of fewer steps, from before the run was made longer, gets the number of its steps as part of its
    name.

    Args:
        stack: The agents at the end of the run.
        config: The run's configuration.
        folder: Its folder.
        evaluated: What `Evaluations.state` says of the whole run.
        build: Builds the agent of an ordinary run.

    Raises:
        RunFolderError: A folder cannot be written; those that are whole stay.
    """
    assert isinstance(stack, SeedStack)
    each = len(evaluated["last_returns"]) // config.seeds
    for seed, path in seeds_without_folder(config, folder, stack.num_timesteps).items():
        index = seed - config.seed
        returns = evaluated["last_returns"][index * each : (index + 1) * each]
        own = dataclasses.replace(config, seed=seed, seeds=1, threads=1, out=None)
        single = build(own)
        try:
            _copy_agent(stack.agents[index], single)
            _write_seed_folder(single, own, folder, path, {**evaluated, "last_returns": returns})
        except OSError as error:
            if isinstance(error, HyperRLError):
                raise
            raise RunFolderError(
                f"the folder {path} of seed {seed} could not be written: {error.strerror or error}; make "
                f"room, then: hyperrl resume {folder.path}"
            ) from error
        finally:
            if single.env is not None:
                single.env.close()


def _write_seed_folder(
    single: BaseAlgorithm, config: RunConfig, folder: RunFolder, path: Path, evaluated: Mapping[str, Any]
) -> None:
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    made = RunFolder.create(config, part)
    first = _copy_evaluations(folder, made, config.seed)
    last = float(np.mean(evaluated["last_returns"]))
    own = {"best": last, "best_steps": evaluated["last_steps"], "first_return": first, "last_return": last}
    steps = int(evaluated["last_steps"])
    write_only_checkpoint(single, config, made, steps, {**evaluated, **own})
    made.set_status("finished", steps)
    if path.is_dir():
        os.replace(path, path.with_name(f"{path.name}-{RunFolder.open(path).status()['steps']}-steps"))
    os.replace(part, path)


def _copy_agent(agent: Any, single: Any) -> None:
    """Copy what was learned, and what was counted."""
    single.set_parameters(agent.get_parameters(), device="cpu")
    for name in agent._get_torch_save_params()[1]:
        getattr(single, name).data.copy_(getattr(agent, name))
    single._n_updates, single._episode_num = agent._n_updates, agent._episode_num


def _is_there(path: Path, steps: int) -> bool:
    if not path.is_dir():
        return False
    single = RunFolder.open(path)
    return bool(single.status()["steps"] >= steps or single.manifest().get("resumed"))


def _seeds(config: RunConfig) -> list[Seeds]:
    return [seeds_of_run(config.seed + index, config.eval_episodes) for index in range(config.seeds)]


def _copy_evaluations(folder: RunFolder, single: RunFolder, seed: int) -> float:
    """Write one seed's evaluations into its folder, as far as they are there, and return the first mean."""
    try:
        with (folder.evaluation / "evaluations.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["seed"] == str(seed)]
    except (OSError, KeyError):
        rows = []
    if not rows:
        return math.nan
    names = [name for name in rows[0] if name != "seed"]
    with (single.evaluation / "evaluations.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return float(np.mean([float(row["return"]) for row in rows if row["steps"] == rows[0]["steps"]]))
