"""The first verb: from a configuration to a trained run, in one process or in several one after the other."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hyperrl.agent_arguments import build_agent, build_agent_kwargs, check_agent_kwargs
from hyperrl.config import RunConfig
from hyperrl.environments import check_spaces, make_env, make_training_envs
from hyperrl.errors import ConfigError, HyperRLError, RunFolderError
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.registry import agents
from hyperrl.run import Run, RunFolder
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.manifest import available_cores
from hyperrl.run.seeding import seeds_of_run
from hyperrl.run.session import run_session
from hyperrl.run.settings import check_settings
from hyperrl.run.store import Checkpoint
from hyperrl.run.threads import check_threads, computing_with
from hyperrl.sb3.compiled_updates import CompiledUpdates
from hyperrl.sb3.meta.trials import as_trained
from hyperrl.sb3.normalising import OnRawObservations, normalised
from hyperrl.seed_runs import build_stack, evaluate_stack, seeds_without_folder, write_seed_folders

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


def check(config: RunConfig) -> None:
    """Refuse a configuration that cannot be trained; the agent is built for that and let go, nothing written.

    Args:
        config: The run's configuration.

    Raises:
        HyperRLError: A name is unknown, an argument is wrong, the environment does not fit the agent, the
            device is missing, or there are fewer cores than threads.
    """
    check_threads(config.threads)
    _close_envs(_build(config, *_prepare(config)))


def train(config: RunConfig) -> Run:
    """Train an agent and leave a run folder.

    Args:
        config: The run's configuration.

    Returns:
        What the run came to. When it fails, the folder's status says "failed", when a signal stops it
        "stopped"; `resume` continues both.

    Raises:
        RunStoppedError: A signal stopped the run; everything up to then is in a checkpoint.
        HyperRLError: The configuration cannot be trained (nothing was written), a value became NaN or
            infinite, or an environment failed.
    """
    check_threads(config.threads)
    cls, agent_kwargs = _prepare(config)
    place = RunFolder.place(config)
    with computing_with(config.threads if config.seeds == 1 else 1):
        agent = _build(config, cls, agent_kwargs)
        try:
            folder = RunFolder.create(config, place)
            with folder.lock:
                return _session(agent, config, folder, None)
        finally:
            _close_envs(agent)


def resume(run_dir: str | Path, steps: int | None = None) -> Run:
    """Continue a run from its last checkpoint, on the same machine bit for bit as if it had never stopped.

    The result is exact with the same versions and number of threads, on a CPU, for environments whose state
    can be captured (`hyperrl_envs.simulator_state`); otherwise a warning says what is not.

    Args:
        run_dir: The run's folder.
        steps: A new length of the whole run; None keeps that of its configuration. A learning rate that is
            a function of the progress depends on the length, so another length changes it from here on.

    Returns:
        What the run came to; nothing is done where it has all of its steps already.

    Raises:
        RunFolderError: There is no such run, it has more steps than `steps` already, its `run.toml` is not
            what it was trained with, or another process trains in it.
        CheckpointError: It has no checkpoint, or none that is whole.
        HyperRLError: As in `train`.
    """
    folder = RunFolder.open(run_dir)
    configured = folder.config()
    config = configured if steps is None else dataclasses.replace(configured, steps=steps)
    with folder.lock:
        checkpoint = folder.checkpoint()
        # Several environments together may have gone a few steps beyond the length of the run.
        if config.steps < checkpoint.steps and config.steps != configured.steps:
            raise RunFolderError(
                f"the run {folder.path} has {checkpoint.steps:,} steps already, more than {config.steps:,}: "
                f"give a larger number, for example --steps {2 * checkpoint.steps}, or none"
            )
        for note in check_settings(configured, checkpoint, folder.path / "run.toml"):
            warnings.warn(note, stacklevel=2)
        finished = _finished(folder, config, checkpoint)
        if finished is not None:
            return finished
        check_threads(config.threads)
        cls, agent_kwargs = _prepare(config)
        with computing_with(config.threads if config.seeds == 1 else 1):
            agent = _build(config, cls, agent_kwargs)
            try:
                folder.note_resume(checkpoint.steps)
                folder.change_steps(config)
                return _session(agent, config, folder, checkpoint)
            finally:
                _close_envs(agent)


def restore_agent(run_dir: str | Path, checkpoint: str = "latest") -> BaseAlgorithm:
    """Bring an agent back as it was while it trained, with its replay buffer, optimisers and environments.

    Args:
        run_dir: The run's folder, which is only read.
        checkpoint: "latest", "best" or a number of steps.

    Returns:
        The algorithm, to be looked at or saved in the form of Stable-Baselines3; `resume` is what continues
        the run. Its environments are yours to close.

    Raises:
        HyperRLError: There is no such run or checkpoint, or it is damaged, or its agent is not installed.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    saved = folder.checkpoint(checkpoint)
    torch.set_num_threads(min(config.threads, available_cores()))
    agent = _build(config, *_prepare(config))
    try:
        # Restoring is part of a run's loop, which begins with an observation to act upon.
        agent._setup_learn(config.steps)
        _, notes = Checkpoints(agent, folder.store, {}).restore(saved)
    except BaseException:
        _close_envs(agent)
        raise
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return agent


def _finished(folder: RunFolder, config: RunConfig, checkpoint: Checkpoint) -> Run | None:
    """Return what a run came to that has all of its steps and its last evaluation, or else None."""
    told = checkpoint.state()["run"]["evaluations"]
    if config.seeds > 1 and seeds_without_folder(config, folder, checkpoint.steps):
        return None
    if checkpoint.steps < config.steps or told["last_steps"] != checkpoint.steps:
        return None
    if folder.config() != config:
        folder.change_steps(config)
    # It may have been killed before it could say so.
    folder.try_status("finished", checkpoint.steps)
    returns = told["first_return"], told["last_return"]
    return Run(folder, config, checkpoint.steps, told["seconds"], *returns, was_finished=True)


def _session(
    agent: BaseAlgorithm, config: RunConfig, folder: RunFolder, checkpoint: Checkpoint | None
) -> Run:
    if config.seeds > 1:
        return _session_of_seeds(agent, config, folder, checkpoint)
    seeds = seeds_of_run(config.seed, config.eval_episodes).evaluation
    env = as_trained(agent, make_env(config.env, config.env_kwargs))
    try:
        return run_session(
            agent,
            config,
            folder,
            lambda a, check: [
                e.episode_return for e in play_episodes(OnRawObservations(a), env, seeds, before_step=check)
            ],
            checkpoint,
        )
    finally:
        env.close()


def _session_of_seeds(
    agent: BaseAlgorithm, config: RunConfig, folder: RunFolder, checkpoint: Checkpoint | None
) -> Run:
    returns_of, close = evaluate_stack(config)

    def finish(stack: BaseAlgorithm, evaluated: Mapping[str, Any]) -> None:
        write_seed_folders(stack, config, folder, evaluated, lambda own: _build(own, *_prepare(own)))

    try:
        return run_session(agent, config, folder, returns_of, checkpoint, finish)
    finally:
        close()


def _prepare(config: RunConfig) -> tuple[type[Any], dict[str, Any]]:
    """Find the algorithm's class and build its keyword arguments, refusing all that is known to be wrong."""
    cls = agents.get(config.agent)
    check_agent_kwargs(config.agent, cls, config.policy, config.agent_kwargs, config.steps)
    frequency = config.agent_kwargs.get("train_freq")
    if config.n_envs > 1 and isinstance(frequency, list) and frequency[1] == "episode":
        raise ConfigError(f"train_freq in episodes needs n_envs = 1, got n_envs = {config.n_envs}")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no GPU here: use 'cpu' or 'auto'")
    env = make_env(config.env, config.env_kwargs)
    try:
        action_size = check_spaces(env, config.agent, config.policy)
    finally:
        env.close()
    return cls, build_agent_kwargs(config.agent_kwargs, action_size)


def _build(config: RunConfig, cls: type[Any], agent_kwargs: dict[str, Any]) -> BaseAlgorithm:
    """Build the agent. Nothing is written yet, so that a refusal leaves nothing behind."""
    if config.seeds > 1:
        return build_stack(config, cls, agent_kwargs)
    seeds = seeds_of_run(config.seed, config.eval_episodes)
    venv = make_training_envs(config, seeds.envs)
    venv = normalised(venv, config.normalize, agent_kwargs.get("gamma", 0.99))
    settings = {"seed": seeds.agent, "device": config.device, **agent_kwargs}
    agent = build_agent(config.agent, cls, config.policy, venv, settings)
    # The algorithm has reseeded its environments with its own seed; they have one of their own.
    venv.seed(seeds.envs)
    if hasattr(agent, "check_trainable"):
        try:
            agent.check_trainable()
            if hasattr(agent, "check_steps"):
                agent.check_steps(config.steps)
        except HyperRLError:
            venv.close()
            raise
    if isinstance(agent, CompiledUpdates):
        agent.announces = True
    return agent


def _close_envs(agent: BaseAlgorithm) -> None:
    if agent.env is not None:
        agent.env.close()
