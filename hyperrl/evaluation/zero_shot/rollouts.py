"""Playing the episodes of a plan, many side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ConfigError, NonFiniteError
from hyperrl.evaluation.zero_shot.actors import Actor
from hyperrl.evaluation.zero_shot.lanes import Ended, Lanes, assign, rows_of
from hyperrl.evaluation.zero_shot.plan import Case
from hyperrl.evaluation.zero_shot.view import Observations


@dataclass(frozen=True)
class Played:
    """An episode of a plan.

    Attributes:
        case: What was planned.
        ended: How it came out.
    """

    case: Case
    ended: Ended


def play(
    actor: Actor, lanes: Lanes, cases: Sequence[Case], tell: Callable[[Played], None] = lambda played: None
) -> list[Played]:
    """Play every episode once; a lane whose episode ends takes the next one.

    Every episode is played to its end, however long it takes: what is counted does not depend on which
    episodes end first.

    Args:
        actor: What acts.
        lanes: The environments.
        cases: The episodes.
        tell: Called with each episode that has ended.

    Returns:
        One result for each case, in their order.

    Raises:
        NonFiniteError: The policy gave an action, or an environment a reward, that is NaN or infinite.
        ConfigError: There is no case.
    """
    if not cases:
        raise ConfigError("a zero-shot evaluation needs at least one episode")
    results: list[Played | None] = [None] * len(cases)
    count = min(lanes.count, len(cases))
    # All lanes get an episode to begin with; those that are too many are left where they are.
    current = [index % len(cases) for index in range(lanes.count)]
    observations = _begin(actor, lanes, cases, list(range(lanes.count)), current)
    playing, waiting = list(range(count)), count
    while playing:
        actions = actor.act(observations, lanes.count)
        _check(actions, playing, cases, current)
        stepped, rewards, ended = lanes.step(actions, playing)
        _check(rewards, playing, cases, current)
        going_on = [lane for lane in playing if lane not in ended]
        assign(observations, going_on, rows_of(stepped, going_on))
        for lane, outcome in ended.items():
            results[current[lane]] = played = Played(cases[current[lane]], outcome)
            tell(played)
        free = sorted(ended)[: len(cases) - waiting]
        if free:
            for lane, index in zip(free, range(waiting, waiting + len(free)), strict=True):
                current[lane] = index
            waiting += len(free)
            begun = _begin(actor, lanes, cases, free, [current[lane] for lane in free])
            assign(observations, free, begun)
        if ended:
            playing = sorted([*going_on, *free])
    return [result for result in results if result is not None]


def _begin(
    actor: Actor, lanes: Lanes, cases: Sequence[Case], which: Sequence[int], indices: Sequence[int]
) -> Observations:
    begun = [cases[index] for index in indices]
    for lane, case in zip(which, begun, strict=True):
        actor.begin(lane, case)
    contexts = np.stack([case.context for case in begun])
    return lanes.begin(which, [case.reset_seed for case in begun], contexts)


def _check(values: NDArray[Any], lanes: Sequence[int], cases: Sequence[Case], current: Sequence[int]) -> None:
    """Refuse actions or rewards [n, ...] of lanes that are not finite."""
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    for lane in lanes:
        if not finite[lane]:
            case = cases[current[lane]]
            what = "an action of the policy" if values.ndim > 1 else "a reward"
            raise NonFiniteError(
                f"{what} is not finite in context {case.number} of {case.split!r}, in the episode with seed "
                f"{case.reset_seed}"
            )
