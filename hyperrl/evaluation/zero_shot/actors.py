"""What acts in the lanes of an evaluation: a policy, perhaps told another context, or chance."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.context.space import Array
from hyperrl.evaluation.rollout import Predictor
from hyperrl.evaluation.zero_shot.lanes import rows_of
from hyperrl.evaluation.zero_shot.plan import Case
from hyperrl.evaluation.zero_shot.view import ContextView, Observations

WIDTH = 64
"""Rows of every query of a policy. The rounding of a product of matrices depends on its shape, and in a
simulation with contacts the last bit decides: queries of one shape give an action that does not depend on how
many environments there are."""

_ACTIONS = 0xAC  # Keeps random actions apart from other draws of the same seed.


class Actor(Protocol):
    """Acts in all lanes at once."""

    def begin(self, lane: int, case: Case) -> None:
        """Learn which episode begins in a lane."""
        ...

    def act(self, observations: Observations, count: int) -> NDArray[Any]:
        """Return actions [count, A] for `count` observations."""
        ...


class PolicyActor:
    """A policy without exploration, which may remember what it saw since an episode began.

    All lanes are in a few queries, as asking a policy costs more than what it computes. Where weights are
    generated for all contexts of a query together, or rows of one context are multiplied together, the last
    bits of an action may depend on what else is in the query, and so on the number of lanes.

    Args:
        policy: Acts for batches of observations as the environment gives them.
        view: How observations hold contexts.
    """

    def __init__(self, policy: Predictor, view: ContextView) -> None:
        self._policy = policy
        self._view = view
        self._told: dict[int, Array] = {}
        self._begun: set[int] = set()
        self._states: dict[int, Any] = {}  # What each query's policy remembers; its form is the policy's own.

    def begin(self, lane: int, case: Case) -> None:
        """Learn that an episode begins in a lane, and which context the policy is told there."""
        self._begun.add(lane)
        self._told.pop(lane, None)
        if case.told is not None:
            self._told[lane] = case.told

    def act(self, observations: Observations, count: int) -> NDArray[Any]:
        """Return actions, see `Actor`."""
        if self._told:
            lanes = sorted(self._told)
            told = np.stack([self._told[lane] for lane in lanes])
            observations = self._view.replaced(observations, lanes, told)
        starts = np.zeros(count, bool)
        starts[list(self._begun)] = True
        self._begun.clear()
        parts = []
        for first in range(0, count, WIDTH):
            own = np.arange(first, min(first + WIDTH, count))
            # A query has the same lanes each time, so that what the policy remembers of them stays in place.
            asked = np.pad(own, (0, WIDTH - len(own)), mode="edge")
            actions, self._states[first] = self._policy.predict(
                rows_of(observations, asked), self._states.get(first), starts[asked], deterministic=True
            )
            parts.append(actions[: len(own)])
        return np.concatenate(parts)


class RandomActor:
    """Actions drawn evenly from the action space, the same ones for the same reset.

    Args:
        space: The actions.
        lanes: How many lanes there are.
    """

    def __init__(self, space: spaces.Box, lanes: int) -> None:
        self._space = space
        self._generators = [np.random.default_rng(0) for _ in range(lanes)]

    def begin(self, lane: int, case: Case) -> None:
        """Seed the actions of a lane by the episode's reset."""
        sequence = np.random.SeedSequence(case.reset_seed, spawn_key=(_ACTIONS,))
        self._generators[lane] = np.random.default_rng(sequence)

    def act(self, observations: Observations, count: int) -> NDArray[Any]:
        """Return actions, see `Actor`."""
        drawn = np.stack([one.random(self._space.shape) for one in self._generators[:count]])
        low, high = self._space.low.astype(np.float64), self._space.high.astype(np.float64)
        return (low + drawn * (high - low)).astype(self._space.dtype)
