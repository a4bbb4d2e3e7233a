"""Playing the episodes of a plan with the policy of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from hyperrl.config import RunConfig
from hyperrl.evaluation.zero_shot.actors import PolicyActor, RandomActor
from hyperrl.evaluation.zero_shot.lanes import Lanes, contexts_of, make_lanes
from hyperrl.evaluation.zero_shot.plan import RANDOM, Case
from hyperrl.evaluation.zero_shot.rollouts import Played, play
from hyperrl.evaluation.zero_shot.together import acts_by_history, play_cases_together
from hyperrl.evaluation.zero_shot.view import ContextView
from hyperrl.loading import load_agent
from hyperrl.run import RunFolder
from hyperrl.run.manifest import available_cores
from hyperrl.sb3.normalising import OnRawObservations

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

Say = Callable[[str], None]
LANES = 64
"""Episodes that are played side by side, at most."""


@contextmanager
def loaded(folder: RunFolder, checkpoint: str) -> Iterator[BaseAlgorithm]:
    """Bring back the agent of a run, and close its environment in the end.

    Args:
        folder: The run's folder.
        checkpoint: "latest", "best" or a number of steps.
    """
    torch.set_num_threads(min(folder.config().threads, available_cores()))
    agent, _ = load_agent(folder, checkpoint)
    try:
        yield agent
    finally:
        if agent.env is not None:
            agent.env.close()


def play_cases(
    agent: BaseAlgorithm,
    config: RunConfig,
    cases: Sequence[Case],
    *,
    lanes: int = LANES,
    tell: Callable[[Played], None] = lambda played: None,
) -> list[Played]:
    """Play episodes with the policy of an agent, and those of random actions.

    Args:
        agent: The agent.
        config: The configuration of its run.
        cases: The episodes.
        lanes: How many episodes are played side by side.
        tell: Called with each episode that has ended.

    Returns:
        One result for each case, in their order.
    """
    view = contexts_of(config.env, config.env_kwargs)[1]
    envs = make_lanes(config.env, config.env_kwargs, min(lanes, len(cases)), native=config.native)
    try:
        order = [index for index, case in enumerate(cases) if case.ablation != RANDOM]
        order_random = [index for index, case in enumerate(cases) if case.ablation == RANDOM]
        results: dict[int, Played] = {}
        for indices in filter(None, (order, order_random)):
            own = [cases[index] for index in indices]
            results |= dict(zip(indices, _play(agent, view, envs, own, tell), strict=True))
        return [results[index] for index in range(len(cases))]
    finally:
        envs.close()


class Progress:
    """Says every tenth of all episodes.

    Args:
        total: How many there are.
        say: Called with a line.
    """

    def __init__(self, total: int, say: Say) -> None:
        self._total, self._say, self._done = total, say, 0

    def __call__(self, played: Played) -> None:
        """Count an episode."""
        said = 10 * self._done // self._total
        self._done += 1
        if 10 * self._done // self._total > said:
            self._say(f"{self._done:,} of {self._total:,} episodes")


def _play(
    agent: BaseAlgorithm,
    view: ContextView,
    lanes: Lanes,
    cases: Sequence[Case],
    tell: Callable[[Played], None],
) -> list[Played]:
    """Play episodes that are all with the policy or all at random."""
    if cases[0].ablation == RANDOM:
        return play(RandomActor(lanes.action_space, lanes.count), lanes, cases, tell)
    if acts_by_history(agent):
        return play_cases_together(agent, view, lanes, cases, tell)
    return play(PolicyActor(OnRawObservations(agent), view), lanes, cases, tell)
