"""Playing with agents that adapt or remember: an episode of every task, all begun together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hyperrl.context.space import Array
from hyperrl.errors import NonFiniteError, ShapeError
from hyperrl.evaluation.zero_shot.lanes import Ended, Lanes, assign, rows_of
from hyperrl.evaluation.zero_shot.plan import Case
from hyperrl.evaluation.zero_shot.rollouts import Played
from hyperrl.evaluation.zero_shot.view import ContextView, Observations
from hyperrl.sb3.meta.adaptation import Adaptation, Adaptive, Transition
from hyperrl.sb3.meta.trials import trials_of

Shown = Callable[[Observations], Observations]
"""From the observations of the environments to those that the agent gets."""

ACTS_BY_HISTORY = "acts_by_history"
"""Name of an attribute: true of agents whose `predict` lacks what they act by, the rewards of the episode so
far for one, so that evaluations play through their `adaptation`."""


def acts_by_history(agent: object) -> TypeGuard[Adaptive]:
    """Return whether an agent has to see rewards and actions within an episode to act as it can.

    Args:
        agent: The agent, an algorithm of Stable-Baselines3; those that learn from trials do.
    """
    if not isinstance(agent, Adaptive):
        return False
    return bool(getattr(agent, ACTS_BY_HISTORY, False)) or trials_of(getattr(agent, "env", None)) is not None


def play_together(
    adaptation: Adaptation,
    lanes: Lanes,
    contexts: Array,
    seeds: Sequence[int],
    *,
    explore: bool,
    shown: Shown = lambda observations: observations,
) -> list[Ended]:
    """Play one episode of each task; those that end early wait for the others.

    Args:
        adaptation: What acts, and looks at every step.
        lanes: The environments, as many as there are tasks.
        contexts: The tasks, raw, shape [n, d].
        seeds: Seed of each reset.
        explore: Whether the episodes are played to learn from them.
        shown: What the agent gets of observations.

    Returns:
        How each came out.

    Raises:
        NonFiniteError: An action or a reward is NaN or infinite.
        ShapeError: The actions have another shape than [n, A].
    """
    count = lanes.count
    held = lanes.begin(range(count), seeds, contexts)
    adaptation.begin_episode()
    playing = np.ones(count, np.bool_)
    outcomes: dict[int, Ended] = {}
    observations = shown(held)
    while playing.any():
        rows = np.flatnonzero(playing)
        actions = _checked_actions(adaptation.act(observations, explore=explore), lanes, rows, contexts)
        stepped, rewards, ended = lanes.step(actions, rows.tolist())
        _check("a reward", rewards, rows, contexts)
        # Where nothing plays nothing changes: what an agent sees there does not depend on the simulator.
        held = rows_of(held, range(count))
        assign(held, rows, rows_of(stepped, rows))
        following = shown(held)
        terminated = np.zeros(count, np.bool_)
        terminated[[lane for lane, one in ended.items() if one.terminated]] = True
        earned = np.where(playing, rewards, 0.0).astype(np.float32)
        adaptation.observe(Transition(observations, actions, earned, following, terminated, playing.copy()))
        observations = following
        outcomes |= ended
        playing[list(ended)] = False
    return [outcomes[lane] for lane in range(count)]


def play_cases_together(
    agent: Adaptive,
    view: ContextView,
    lanes: Lanes,
    cases: Sequence[Case],
    tell: Callable[[Played], None],
) -> list[Played]:
    """Play the episodes of a plan with an agent that remembers, as many at a time as there are lanes.

    Each episode is the first of its task: nothing is learned from one for another.

    Args:
        agent: The agent.
        view: How observations hold contexts.
        lanes: The environments.
        cases: The episodes.
        tell: Called with each episode that has ended.

    Returns:
        One result for each case, in their order.
    """
    results: list[Played] = []
    for first in range(0, len(cases), lanes.count):
        own = list(cases[first : first + lanes.count])
        # The last ones leave lanes over, which play the last episode once more, for nobody.
        padded = own + [own[-1]] * (lanes.count - len(own))
        told = [case.context if case.told is None else case.told for case in padded]
        outcomes = play_together(
            agent.adaptation(np.stack(told)),
            lanes,
            np.stack([case.context for case in padded]),
            [case.reset_seed for case in padded],
            explore=False,
            shown=_telling(view, padded),
        )
        played = [Played(case, outcome) for case, outcome in zip(own, outcomes, strict=False)]
        for one in played:
            tell(one)
        results += played
    return results


def _telling(view: ContextView, cases: Sequence[Case]) -> Shown:
    rows = [row for row, case in enumerate(cases) if case.told is not None]
    if not rows:
        return lambda observations: observations
    told = np.stack([case.told for case in cases if case.told is not None])
    return lambda observations: view.replaced(observations, rows, told)


def _checked_actions(
    actions: NDArray[Any], lanes: Lanes, rows: NDArray[np.int64], contexts: Array
) -> NDArray[np.float32]:
    """Return finite actions [n, A] within their bounds."""
    wanted = (lanes.count, *lanes.action_space.shape)
    if np.shape(actions) != wanted:
        raise ShapeError(f"{lanes.count} tasks need actions of shape {list(wanted)}, got {np.shape(actions)}")
    _check("an action", actions, rows, contexts)
    low, high = lanes.action_space.low, lanes.action_space.high
    return np.clip(np.where(np.isfinite(actions), actions, 0.0), low, high).astype(np.float32)


def _check(what: str, values: NDArray[Any], rows: NDArray[np.int64], contexts: Array) -> None:
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    for row in rows:
        if not finite[row]:
            raise NonFiniteError(f"{what} is not finite in the context {contexts[row].tolist()}")
