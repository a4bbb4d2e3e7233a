"""The policy of one task after some episodes of data in it, by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.config import RunConfig
from hyperrl.context.space import Array
from hyperrl.environments import make_env
from hyperrl.errors import ContextError
from hyperrl.evaluation.adaptation.plan import Task, checked_episodes, task_sets
from hyperrl.evaluation.adaptation.playing import Session, Simulators, declared_tasks
from hyperrl.evaluation.zero_shot.runs import loaded
from hyperrl.evaluation.zero_shot.together import acts_by_history
from hyperrl.plain_policy import PlainPolicy
from hyperrl.ranges import whole
from hyperrl.run import RunFolder
from hyperrl.sb3.contexts.fixed import InOneContext, completed
from hyperrl.sb3.contexts.observed import Observed
from hyperrl.sb3.meta.adaptation import Adaptation

_SEEDS = whole(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class AdaptedPolicy:
    """The policy of one task.

    Attributes:
        policy: The policy, of the observation without the context.
        act: What the agent itself does, adapted as it is: from such observations [N, in] to actions [N, A].
            None for an agent that goes on to remember: its plain policy stays as it is at this point.
        observed: What the agent's environment shows of contexts.
        context: The task, raw, shape [d].
        seed: Seed of the episodes of data.
        returns: Returns of the episodes of data.
    """

    policy: PlainPolicy
    act: Callable[[Any], NDArray[np.float32]] | None
    observed: Observed
    context: Array
    seed: int
    returns: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return where the policy comes from, as plain data."""
        return {"episodes": len(self.returns), "seed": self.seed, "returns": list(self.returns)}


def adapted_policy(
    run_dir: str | Path, task: Task, episodes: int, *, seed: int = 0, checkpoint: str = "latest"
) -> AdaptedPolicy:
    """Let the agent of a run adapt to one task, and return its policy there; nothing is written.

    The episodes of data are those that `evaluate_adaptation` plays with the same seed for this task alone.

    Args:
        run_dir: The run's folder.
        task: The task.
        episodes: Episodes of data K.
        seed: Seed of the episodes.
        checkpoint: "latest", "best" or a number of steps.

    Raises:
        ConfigError: The agent cannot adapt, or a number is out of range.
        ContextError: The environment has no tasks, or the policy takes other observations than it gives.
        ExportError: The adapted policy is more than a plain policy.
        HyperRLError: There is no such run or checkpoint, or the task is not in the space.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    declared = declared_tasks(config)
    count = checked_episodes(episodes)
    seed = int(_SEEDS.check("seed", seed))
    contexts = task_sets(declared, (), [task])[0].contexts
    folder.checkpoint(checkpoint, replay=False)
    with loaded(folder, checkpoint) as agent, Simulators(config) as simulators:
        session = Session(agent, simulators.lanes(1), contexts, seed)
        played = [session.learn(number)[0] for number in range(count)]
        policy = session.adaptation.specialise(0)
        observed = _checked(config, policy)
        space = agent.observation_space
        known = acts_by_history(agent)
        act = None if known else _acting(session.adaptation, observed, space, contexts[0])
    returns = tuple(one.episode_return for one in played)
    return AdaptedPolicy(policy, act, observed, contexts[0], seed, returns)


def _acting(
    adaptation: Adaptation, observed: Observed, space: spaces.Space[Any], context: Array
) -> Callable[[Any], NDArray[np.float32]]:
    """Return what an adaptation to one task does, each observation seen as the first of an episode."""
    known = adaptation.snapshot()
    complete = completed(observed, space) if observed.size else None

    def act(observations: Any) -> NDArray[np.float32]:
        rows = np.asarray(observations, np.float32)
        given = rows if complete is None else complete(rows, context)
        actions = []
        for row in range(len(rows)):
            adaptation.restore(known)
            adaptation.begin_episode()
            one = (
                {name: values[row : row + 1] for name, values in given.items()}
                if isinstance(given, dict)
                else given[row : row + 1]
            )
            actions.append(adaptation.act(one, explore=False)[0])
        return np.stack(actions)

    return act


def _checked(config: RunConfig, policy: PlainPolicy) -> Observed:
    """Return what the environment shows of contexts, where the policy takes what is left of it."""
    env = make_env(config.env, config.env_kwargs)
    try:
        observed = Observed.of_env(env)
        size = int(np.prod(InOneContext(env, observed, None).observation_space.shape or (1,)))
    finally:
        env.close()
    if policy.sizes[0] != size:
        raise ContextError(
            f"the adapted policy takes {policy.sizes[0]} numbers, but an observation of {config.env} has "
            f"{size} without its context: it cannot act there by itself"
        )
    return observed
