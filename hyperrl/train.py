"""The first verb: from a configuration to a trained run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.logger import configure

from hyperrl.agent_arguments import build_agent, build_agent_kwargs, check_agent_kwargs
from hyperrl.config import RunConfig
from hyperrl.environments import check_spaces, make_env, make_vec_env
from hyperrl.errors import ConfigError
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.registry import agents
from hyperrl.run import Run, RunFolder
from hyperrl.run.callbacks import Evaluations, RunCallback
from hyperrl.run.checkpoint import save_checkpoint
from hyperrl.run.seeding import seeds_of_run

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


def check(config: RunConfig) -> None:
    """Refuse a configuration that cannot be trained; the agent is built for that and let go, nothing written.

    Args:
        config: The run's configuration.

    Raises:
        HyperRLError: A name is unknown, an argument is wrong, the environment does not fit the agent, or the
            device is missing.
    """
    _close_envs(_build(config, *_prepare(config)))


def train(config: RunConfig) -> Run:
    """Train an agent and leave a run folder.

    Args:
        config: The run's configuration.

    Returns:
        What the run came to. When it fails, the folder's status says "failed"; when it is interrupted from
        the keyboard, it says "stopped" and the checkpoint "final" has the weights at that moment.

    Raises:
        HyperRLError: The configuration cannot be trained (nothing was written), or a value became NaN or
            infinite.
    """
    cls, agent_kwargs = _prepare(config)
    place = RunFolder.place(config)
    torch.set_num_threads(config.threads)
    agent = _build(config, cls, agent_kwargs)
    try:
        folder = RunFolder.create(config, place)
    except BaseException:
        _close_envs(agent)
        raise
    try:
        # With `tensorboard_log` Stable-Baselines3 would add a folder of its own below.
        logger = configure(str(folder.tensorboard), ["tensorboard"])
        agent.set_logger(logger)
        folder.set_status("running", 0)
        try:
            return _learn(agent, config, folder)
        finally:
            logger.close()
    except KeyboardInterrupt as stop:
        stop.add_note(f"the run so far lies in {folder.path}")
        _stop(folder, agent)
        raise
    except BaseException as error:
        error.add_note(f"the failed run lies in {folder.path}")
        sentence = " ".join(f"{type(error).__name__}: {error}".split())
        folder.set_status("failed", agent.num_timesteps, sentence)
        raise
    finally:
        _close_envs(agent)
        folder.close_manifest()


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
    seeds = seeds_of_run(config.seed, config.eval_episodes)
    venv = make_vec_env(config.env, config.env_kwargs, config.n_envs, seeds.envs)
    settings = {"seed": seeds.agent, "device": config.device, **agent_kwargs}
    agent = build_agent(config.agent, cls, config.policy, venv, settings)
    # The algorithm has reseeded its environments with its own seed; they have one of their own.
    venv.seed(seeds.envs)
    return agent


def _learn(agent: BaseAlgorithm, config: RunConfig, folder: RunFolder) -> Run:
    seeds = seeds_of_run(config.seed, config.eval_episodes).evaluation
    env = make_env(config.env, config.env_kwargs)
    evaluations = Evaluations(folder, lambda a: [e.episode_return for e in play_episodes(a, env, seeds)])
    callback = RunCallback(folder, evaluations, config.eval_every, config.steps)
    try:
        before = evaluations.run(agent)
        agent.learn(config.steps, callback=callback)
        seconds = evaluations.seconds_of_learning()
        after = evaluations.run(agent)
    finally:
        callback.close()
        env.close()
    save_checkpoint(agent, folder.checkpoints / "final")
    folder.set_status("finished", agent.num_timesteps)
    return Run(folder, config, agent.num_timesteps, seconds, before, after)


def _stop(folder: RunFolder, agent: BaseAlgorithm) -> None:
    try:
        save_checkpoint(agent, folder.checkpoints / "final")
    finally:
        folder.set_status("stopped", agent.num_timesteps)


def _close_envs(agent: BaseAlgorithm) -> None:
    if agent.env is not None:
        agent.env.close()
