"""The one checkpoint of a run whose agent was trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hyperrl.config import RunConfig
from hyperrl.errors import CheckpointError
from hyperrl.run.callbacks import run_state
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.evaluations import Evaluations
from hyperrl.run.folder import RunFolder
from hyperrl.run.settings import about

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


def write_only_checkpoint(
    agent: BaseAlgorithm,
    config: RunConfig,
    folder: RunFolder,
    steps: int,
    evaluated: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint of an agent without transitions; what resumes it first collects new ones.

    Args:
        agent: The agent with its weights and optimisers, never trained since it was built.
        config: The run's configuration.
        folder: Its folder.
        steps: Environment steps that the agent was trained for.
        evaluated: What `Evaluations.state` says of its evaluations, None if there were none.

    Raises:
        CheckpointError: The checkpoint cannot be written.
    """
    # A checkpoint is of an agent that stands at the top of a rollout, with observations to act upon.
    agent._setup_learn(max(steps, 1))
    agent.num_timesteps = steps
    checkpoints = Checkpoints(agent, folder.store, about(config))
    starts = getattr(agent, "learning_starts", None)
    updates_after = 0 if starts is None else steps + starts
    evaluations = Evaluations(folder, lambda _: [])
    if evaluated is not None:
        evaluations.restore(evaluated, steps)
    run = run_state(evaluations, ended=True, updates_after=updates_after)
    if not checkpoints.save(run, best=evaluated is not None):
        raise CheckpointError(f"the checkpoint of {folder.path} could not be written: {checkpoints.problem}")
    folder.close_manifest()
