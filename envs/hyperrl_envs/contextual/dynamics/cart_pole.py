"""A pole on a cart that a continuous force pushes, with five parameters.

The equations are those of Barto, Sutton & Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult
Learning Control Problems" (1983), as in Gymnasium's CartPole; the context of five numbers is that of the
Decision Adapter (Beukman et al., NeurIPS 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hyperrl_envs.contextual.dynamics.system import Advance, Array, System

STEP = 0.02
"""Seconds of one step."""

EPISODE_STEPS = 500
"""Steps after which an episode is truncated."""

_FURTHEST = 2.4  # Of the cart from the middle, in metres.
_STEEPEST = math.radians(12)


class CartPole(System):
    """Keep a pole upright: reward 1 for each step until it leans more than 12° or the cart is 2.4 m away.

    The state is the cart's position (m) and velocity (m/s) and the pole's angle (rad) and angular velocity
    (rad/s). The action is the share of the greatest force.
    """

    nominal: ClassVar[Mapping[str, float]] = {
        "gravity": 9.8,
        "cart_mass": 1.0,
        "pole_mass": 0.1,
        "length": 0.5,
        "force": 10.0,
    }
    start: ClassVar[float] = 0.05

    def __init__(self) -> None:
        super().__init__(4, 1)

    @classmethod
    def advance(cls, states: Array, actions: Array, parameters: Mapping[str, Any]) -> Advance:
        """Return what a step of n systems leads to, see `System.advance`.

        Parameters are gravity (m/s²), cart_mass and pole_mass (kg), length (half that of the pole, in metres)
        and force (N).
        """
        position, velocity, angle, turning = states.T
        total = parameters["cart_mass"] + parameters["pole_mass"]
        length, pole = parameters["length"], parameters["pole_mass"]
        sine, cosine = np.sin(angle), np.cos(angle)
        pushed = (parameters["force"] * actions[:, 0] + pole * length * turning * turning * sine) / total
        turn = (parameters["gravity"] * sine - cosine * pushed) / (
            length * (4 / 3 - pole * cosine * cosine / total)
        )
        acceleration = pushed - pole * length * turn * cosine / total
        after = np.stack(
            [
                position + STEP * velocity,
                velocity + STEP * acceleration,
                angle + STEP * turning,
                turning + STEP * turn,
            ],
            axis=1,
        )
        # NaN is not within.
        within = (np.abs(after[:, 0]) <= _FURTHEST) & (np.abs(after[:, 2]) <= _STEEPEST)
        return Advance(after, np.ones(len(states)), ~within)
