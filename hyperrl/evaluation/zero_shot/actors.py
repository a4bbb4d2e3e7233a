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
    """A policy without exploration.

    Args:
        policy: Acts for batches of observations as the environment gives them.
        view: How observations hold contexts.
    """

    def __init__(self, policy: Predictor, view: ContextView) -> None:
        self._policy = policy
        self._view = view
        self._told: dict[int, Array] = {}

    def begin(self, lane: int, case: Case) -> None:
        """Learn which context the policy is told in a lane."""
        self._told.pop(lane, None)
        if case.told is not None:
            self._told[lane] = case.told

    def act(self, observations: Observations, count: int) -> NDArray[Any]:
        """Return actions, see `Actor`."""
        if self._told:
            lanes = sorted(self._told)
            told = np.stack([self._told[lane] for lane in lanes])
            observations = self._view.replaced(observations, lanes, told)
        parts = []
        for start in range(0, count, WIDTH):
            rows = list(range(start, min(start + WIDTH, count)))
            # What is missing is filled with the first row, which costs a grouped policy no new context.
            asked = rows_of(observations, rows + rows[:1] * (WIDTH - len(rows)))
            parts.append(self._policy.predict(asked, deterministic=True)[0][: len(rows)])
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
