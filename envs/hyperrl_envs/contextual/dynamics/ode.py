"""A number that moves as a polynomial of the action says: the ODE task of the Decision Adapter.

Beukman et al., "Dynamics Generalisation in Reinforcement Learning via Adaptive Context-Aware Policies"
(NeurIPS 2023). Two actions make one complex number a; the state moves with the velocity
``Re(c1 b + c2 b²)``, where ``b = 100 a``. The sign of c1 decides which way an action pushes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hyperrl_envs.contextual.dynamics.system import Advance, Array, System

STEP = 0.01
"""Seconds of one step."""

EPISODE_STEPS = 200
"""Steps after which an episode is truncated; nothing else ends it."""

_STRENGTH = 100.0
_FURTHEST = 20.0
# The reward for a distance from zero below the first number.
_REWARDS = ((0.05, 1.0), (0.1, 1 / 2), (0.2, 1 / 3), (0.5, 1 / 4), (2.0, 0.05))


class Ode(System):
    """Bring a number to zero.

    The reward is 1 nearer to it than 0.05, 1/2 nearer than 0.1, 1/3 than 0.2, 1/4 than 0.5, 0.05 than 2.
    """

    nominal: ClassVar[Mapping[str, float]] = {"c1": 1.0, "c2": 0.0}
    start: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__(1, 2)

    @classmethod
    def advance(cls, states: Array, actions: Array, parameters: Mapping[str, Any]) -> Advance:
        """Return what a step of n systems leads to, see `System.advance`; the parameters are c1 and c2."""
        real, imaginary = _STRENGTH * actions.T
        velocity = parameters["c1"] * real + parameters["c2"] * (real * real - imaginary * imaginary)
        after = np.clip(states + STEP * velocity[:, None], -_FURTHEST, _FURTHEST)
        bounds, rewards = (np.array(column) for column in zip(*_REWARDS, strict=True))
        place = np.searchsorted(bounds, np.abs(after[:, 0]), side="right")
        return Advance(after, np.append(rewards, 0.0)[place], np.zeros(len(states), bool))
