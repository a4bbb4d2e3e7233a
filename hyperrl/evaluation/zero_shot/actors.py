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

CONTEXT_WIDTH = 16
"""Rows of a query where every query is of one context."""

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
    """A policy without exploration.

    Args:
        policy: Acts for batches of observations as the environment gives them.
        view: How observations hold contexts.
        by_context: Whether every query is of one context, with each episode in a place of its own. A policy
            whose weights are generated for all contexts of a batch at once rounds as the batch happens to be,
            and its products of small matrices round by the place of a row; so they do not.
    """

    def __init__(self, policy: Predictor, view: ContextView, *, by_context: bool = False) -> None:
        self._policy = policy
        self._view = view
        self._by_context = by_context and view.is_visible
        self._told: dict[int, Array] = {}
        self._places: dict[int, int] = {}

    def begin(self, lane: int, case: Case) -> None:
        """Learn which context the policy is told in a lane."""
        self._told.pop(lane, None)
        self._places[lane] = case.episode % CONTEXT_WIDTH
        if case.told is not None:
            self._told[lane] = case.told

    def act(self, observations: Observations, count: int) -> NDArray[Any]:
        """Return actions, see `Actor`."""
        if self._told:
            lanes = sorted(self._told)
            told = np.stack([self._told[lane] for lane in lanes])
            observations = self._view.replaced(observations, lanes, told)
        if not self._by_context:
            return self._query(observations, count)
        actions: dict[int, NDArray[Any]] = {}
        for places in self._queries(observations, count):
            rows = list(places.values())
            # Places that are not taken are filled with a row that is asked for anyway.
            asked = np.full(CONTEXT_WIDTH, rows[0])
            asked[list(places)] = rows
            answers = self._policy.predict(rows_of(observations, asked), deterministic=True)[0]
            actions |= {row: answers[place] for place, row in places.items()}
        return np.stack([actions[row] for row in range(count)])

    def _queries(self, observations: Observations, count: int) -> list[dict[int, int]]:
        """Divide rows into queries of one context, in which each has the place of its episode."""
        _, groups = np.unique(self._view.told(observations)[:count], axis=0, return_inverse=True)
        found: dict[tuple[int, int], dict[int, int]] = {}
        for row, group in enumerate(groups.reshape(-1).tolist()):
            place, layer = self._places.get(row, 0), 0
            while place in found.setdefault((group, layer), {}):
                layer += 1
            found[group, layer][place] = row
        return list(found.values())

    def _query(self, observations: Observations, count: int) -> NDArray[Any]:
        """Return the actions for the first rows, in queries of `WIDTH` rows."""
        parts = []
        for start in range(0, count, WIDTH):
            own = np.arange(start, min(start + WIDTH, count))
            asked = rows_of(observations, np.pad(own, (0, WIDTH - len(own)), mode="edge"))
            parts.append(self._policy.predict(asked, deterministic=True)[0][: len(own)])
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
