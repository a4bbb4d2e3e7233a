"""Rewards of meta-learning's tasks, as functions of stacked arrays; see `hyperrl_envs.contextual.rewards`.

Each takes the place of what a task gives for moving forward; whatever else the task rewards stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.contextual.rewards import Array, Reward, Terms

__all__ = ["DISC", "GOAL_REWARDS", "GREATEST_GOAL_REWARD", "HEADING", "SPEED"]

DISC = 3.0
"""Radius of the disc in which goals lie, and half the width of their square, in metres."""

GREATEST_GOAL_REWARD = 4.0
"""What Ant-Pos gives at the goal."""


def _heading(terms: Terms, rewards: Array, values: Array, actions: NDArray[np.float32], dt: Array) -> Array:
    """Reward the velocity in a direction: at an angle from the x axis, or against it where that is -1."""
    angle, direction = (np.ascontiguousarray(column) for column in values.T)
    forward = terms["reward_forward"].astype(np.float64)
    along = forward * np.cos(angle) + terms["reward_sideways"] * np.sin(angle)
    # A difference that is nought for the task's own direction: then the reward keeps its bits.
    return np.asarray(rewards + (direction * along - forward), np.float64)


def _speed(terms: Terms, rewards: Array, values: Array, actions: NDArray[np.float32], dt: Array) -> Array:
    """Reward a velocity along x: 1 at the one that is asked for, less by the difference from it."""
    wanted = 1 - np.abs(terms["x_velocity"] - values[:, 0])
    return np.asarray(rewards + (wanted - terms["reward_forward"]), np.float64)


def _place(terms: Terms, rewards: Array, goal_x: Array, goal_y: Array, greatest: float) -> Array:
    distances = np.abs(terms["torso_x"] - goal_x) + np.abs(terms["torso_y"] - goal_y)
    return np.asarray(rewards + (greatest - distances - terms["reward_forward"]), np.float64)


def _square(terms: Terms, rewards: Array, values: Array, actions: NDArray[np.float32], dt: Array) -> Array:
    """Reward being at a place in the square, by its coordinates: 4 there, less by the distance (L1)."""
    return _place(terms, rewards, values[:, 0], values[:, 1], GREATEST_GOAL_REWARD)


def _disc(terms: Terms, rewards: Array, values: Array, actions: NDArray[np.float32], dt: Array) -> Array:
    """Reward being at a place in the disc, by angle and share of its area: minus the distance (L1)."""
    angle, area = (np.ascontiguousarray(column) for column in values.T)
    radius = DISC * np.sqrt(area)
    return _place(terms, rewards, radius * np.cos(angle), radius * np.sin(angle), 0.0)


HEADING = {
    "heading": Reward(_heading, {"angle": 0.0, "direction": 1.0}, ("reward_forward", "reward_sideways"))
}
"""Run in a direction."""

SPEED = {"speed": Reward(_speed, {"target": np.nan}, ("x_velocity", "reward_forward"))}
"""Run at a velocity."""

_OF_PLACES = ("torso_x", "torso_y", "reward_forward")

GOAL_REWARDS = {
    "square": Reward(_square, {"x": np.nan, "y": np.nan}, _OF_PLACES),
    "disc": Reward(_disc, {"angle": np.nan, "area": np.nan}, _OF_PLACES),
}
"""Go to a place."""
