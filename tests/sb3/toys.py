"""Environments that cost nothing, and small critics."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

# A head that differs from zero: gradients reach everything from the first update on.
SMALL_HEAD = {"method": "bias_hyper", "scale": 0.1}
TINY = {"hidden": [16], "trunk_hidden": [16], "features": 4, "init": SMALL_HEAD}
TINY_LINEAR = {"hidden": [16], "kind": "linear", "init": SMALL_HEAD}
TINY_PAPER = {"preset": "paper", "trunk_hidden": [8, 16], "hidden": [8]}
SMALL = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500, "device": "cpu"}


class PointEnv(gym.Env):
    """Bring the action near a linear function of the observation, which is drawn anew at every step.

    Args:
        action_space: Another action space than two numbers in [-1, 2].
        length: Steps of an episode, which is then truncated.
    """

    def __init__(self, action_space=None, length=10):
        self.observation_space = spaces.Box(-1, 1, (3,), np.float32)
        self.action_space = action_space or spaces.Box(-1, 2, (2,), np.float32)
        self.length = length

    def observe(self):
        return self.state

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.state = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self.observe(), {}

    def step(self, action):
        error = np.asarray(action, np.float64).reshape(-1)[:2] - 0.8 * self.state[:2]
        self.steps += 1
        self.state = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self.observe(), -float(error @ error), False, self.steps >= self.length, {}


class DictEnv(PointEnv):
    """The same with the observation in two parts."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict(
            {"first": spaces.Box(-1, 1, (1,), np.float32), "rest": spaces.Box(-1, 1, (2,), np.float32)}
        )

    def observe(self):
        return {"first": self.state[:1], "rest": self.state[1:]}


class ImageEnv(PointEnv):
    """The same as the smallest image that Stable-Baselines3's network takes."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)

    def observe(self):
        return np.full((36, 36, 1), int(127 + 127 * self.state[0]), np.uint8)


class ShapeEnv(gym.Env):
    """Spaces of the given sizes, for agents that are built and never run."""

    def __init__(self, observation, action):
        self.observation_space = spaces.Box(-1, 1, (observation,), np.float32)
        self.action_space = spaces.Box(-1, 1, (action,), np.float32)


def same_parameters(first, second):
    """Whether two models hold the same numbers, bit by bit, optimisers included."""
    return _same(first.get_parameters(), second.get_parameters())


def _same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))
    return bool(np.all(np.asarray(first) == np.asarray(second)))
