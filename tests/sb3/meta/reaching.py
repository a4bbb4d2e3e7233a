"""A family of tasks that costs nothing: walk to a point that nobody sees, or that the context says."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hyperrl.context import ContextParam, ContextSpace, make_splits
from hyperrl_envs.contextual.base import ContextualEnv


class Walk(gym.Env):
    """A point in the plane; the reward is minus its squared distance from the goal.

    Args:
        length: Steps of an episode.
        reach: An episode ends for good this near to the goal; 0 for never.
    """

    def __init__(self, length=6, reach=0.0):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        # Not symmetric: the middle of the range is no action of a new policy.
        self.action_space = spaces.Box(-1, 2, (2,), np.float32)
        self.length, self.reach, self.goal = length, reach, np.zeros(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.state = self.np_random.uniform(-0.1, 0.1, 2)
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.state = self.state + 0.3 * np.asarray(action, np.float64)
        self.steps += 1
        distance = float(np.linalg.norm(self.state - self.goal))
        over = self.steps >= self.length
        return self.state.astype(np.float32), -(distance**2), distance < self.reach, over, {}


class ReachEnv(ContextualEnv):
    """`Walk` to the goal (x, y) of the context, each from -1 to 1 in training.

    Args:
        mode: "visible", "hidden" or "privileged".
        append: "flat" or "dict".
        length: Steps of an episode.
        reach: See `Walk`.
        split: Keyword arguments of `make_splits`.
        units: "normalised" or "raw".
    """

    def __init__(self, mode="visible", append="flat", length=6, reach=0.0, split=None, units="normalised"):
        space = ContextSpace(
            tuple(
                ContextParam(name, -2.0, 2.0, default=0.0, op="set", train=(-1.0, 1.0)) for name in ("x", "y")
            )
        )
        splits = make_splits(space, **(split or {}))
        super().__init__(Walk(length, reach), space, splits, mode=mode, append=append, units=units)

    def _apply(self, context):
        self.env.goal = np.array(context)
