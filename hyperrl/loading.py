"""Bringing back the agent of a run, to act."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from hyperrl.agent_arguments import build_agent, build_agent_kwargs, check_agent_kwargs
from hyperrl.config import RunConfig
from hyperrl.environments import check_spaces, make_env, make_vec_env
from hyperrl.errors import HyperRLError, RunFolderError
from hyperrl.registry import agents
from hyperrl.run import RunFolder
from hyperrl.run.checkpoint import load_weights
from hyperrl.run.env_state import restore_statistics
from hyperrl.run.settings import check_settings
from hyperrl.sb3.normalising import normalised

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


def load_agent(
    folder: RunFolder, checkpoint: str = "latest", device: str = "cpu"
) -> tuple[BaseAlgorithm, int]:
    """Rebuild the agent of a run from its configuration and weights, unpickling nothing.

    Args:
        folder: The run's folder.
        checkpoint: "latest", "best" or a number of steps.
        device: Where the policy shall run.

    Returns:
        The algorithm, with one environment and an empty replay buffer, and the steps that it was trained for.
        Where the run normalised observations, so does the agent's `VecNormalize`; it acts on normalised ones.

    Raises:
        RunFolderError: `run.toml` is not what the checkpoint was trained with.
        HyperRLError: The run has no such checkpoint, or it is damaged, or its agent is not installed.
    """
    saved = folder.checkpoint(checkpoint, replay=False)
    config = folder.config()
    if config.seeds > 1:
        raise RunFolderError(
            f"{folder.path} trained {config.seeds} seeds at once: give the folder of one of them, "
            f"{folder.path / 'seeds' / str(config.seed)} for example, which is there when the run is finished"
        )
    # What may change, the length of the run for example, changes nothing here.
    check_settings(config, saved, folder.path / "run.toml")
    cls = agents.get(config.agent)
    check_agent_kwargs(config.agent, cls, config.policy, config.agent_kwargs, config.steps)
    venv = normalised(make_vec_env(config.env, config.env_kwargs, 1, 0), config.normalize)
    kwargs = build_agent_kwargs(config.agent_kwargs, _action_size(config))
    if "buffer_size" in kwargs or hasattr(cls, "load_replay_buffer"):
        # A policy that only acts needs no memory for transitions.
        kwargs["buffer_size"] = 1
    with warnings.catch_warnings():
        # What does not fit one environment, the size of minibatches for one, matters to training only.
        warnings.simplefilter("ignore", UserWarning)
        agent = build_agent(config.agent, cls, config.policy, venv, {"device": device, "seed": 0, **kwargs})
    try:
        load_weights(agent.policy, saved)
        if config.normalize is not False:
            restore_statistics(venv, saved.state()["agent"]["env"])
    except HyperRLError:
        venv.close()
        raise
    agent.num_timesteps = saved.steps
    agent.policy.set_training_mode(False)
    return agent, saved.steps


def _action_size(config: RunConfig) -> int:
    env = make_env(config.env, config.env_kwargs)
    try:
        return check_spaces(env, config.agent, config.policy)
    finally:
        env.close()
