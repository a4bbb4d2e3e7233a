"""A family of tasks without physics, in which every return is known in advance.

A point at x = 0.1 n (n drawn at reset from the environment's own generator, 0 to 9) earns in each step
-(action - pull)^2 - 0.01 x, where the pull is the first parameter of the context. Episodes take ten steps;
where the second parameter, "limit", is below 10 they end by themselves after so many.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hyperrl.context import ContextParam, ContextSpace, make_splits

ENV_ID = "ToyContexts-v0"
STEPS = 10


class ToyContexts(gym.Env):
    """The task, with the interface of contextual environments."""

    def __init__(
        self,
        mode: str = "visible",
        append: str = "dict",
        units: str = "normalised",
        dims: int = 2,
        split: str = "box",
        n_test: int = 4,
        cost: float = 0.01,
        fixed: dict[str, float] | None = None,
        points: list[list[float]] | None = None,
    ) -> None:
        params = (
            ContextParam("pull", -1.0, 1.0, default=0.0, op="set", train=(-0.5, 0.5)),
            ContextParam("limit", 2.0, 20.0, default=10.0, op="set", train=(5.0, 15.0)),
            ContextParam("idle", 0.1, 10.0, default=1.0, train=(0.5, 2.0), log=True),
        )
        self.context_space = ContextSpace(params[:dims])
        self.splits = make_splits(self.context_space, split, n_test=n_test, points=points)
        self.context_mode, self.append, self.units = mode, append, units
        self.cost, self.fixed = cost, fixed
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        own, told = _box(2), _box(dims)
        self.observation_space = own
        if mode != "hidden":
            flat = append == "flat"
            both = {"observation": own, "context": told}
            self.observation_space = _box(2 + dims) if flat else spaces.Dict(both)
        self.context = self.context_space.array()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        drawn = self.splits.draw(np.random.default_rng(seed))
        given = (options or {}).get("context", self.fixed)
        self.context = drawn if given is None else self.context_space.array(given)
        self.x, self.steps = 0.1 * int(self.np_random.integers(10)), 0
        return self._observation(), self._info()

    def step(self, action):
        self.steps += 1
        values = self.context_space.as_dict(self.context)
        reward = -float((float(action[0]) - values["pull"]) ** 2) - self.cost * self.x
        terminated = self.steps >= values.get("limit", STEPS) and self.steps < STEPS
        return self._observation(), reward, terminated, self.steps >= STEPS, self._info()

    def _observation(self):
        own = np.array([self.x, self.steps / STEPS], np.float32)
        raw = self.units == "raw"
        told = (self.context if raw else self.context_space.normalise(self.context)).astype(np.float32)
        if self.context_mode == "hidden":
            return own
        return np.concatenate([own, told]) if self.append == "flat" else {"observation": own, "context": told}

    def _info(self):
        return {"context": self.context.copy(), "context_id": self.context_space.text(self.context)}


class PullPolicy:
    """Knows the pull from what it is told, and acts upon it."""

    def __init__(self, space: ContextSpace, units: str = "normalised") -> None:
        self._space, self._units = space, units

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        told = (
            observation["context"] if isinstance(observation, dict) else observation[:, -len(self._space) :]
        )
        told = told.astype(np.float64)
        contexts = told if self._units == "raw" else self._space.denormalise(told)
        return np.clip(contexts[:, :1], -1, 1).astype(np.float32), None


def registered():
    """Register the task for the time of a `with` block or a fixture."""
    gym.register(ENV_ID, ToyContexts)
    try:
        yield ENV_ID
    finally:
        del gym.registry[ENV_ID]


def _box(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)
