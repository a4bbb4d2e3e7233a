"""A family of tasks that is solved in closed form, as an environment and as a data set."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hyperrl.context import ContextParam, ContextSpace, make_splits
from hyperrl.zero_shot_data import Dataset, Transitions

ENV = "tests.agents.hyper_zero.lines:zero/Line-v0"
SIZE = 3
GAMMA = 0.9


def line_space(low=-0.9, high=0.9):
    """The space of the one parameter `drift`."""
    return ContextSpace((ContextParam("drift", low, high, default=0.5, op="set"),))


def solve(drift, states):
    """The controller that brings a state to 0 in one step: ``x' = drift x + u``."""
    return -drift * states


class LineEnv(gym.Env):
    """``x' = drift x + u + a little noise`` in three dimensions; the reward is ``1 - |x|^2``.

    Args:
        context: Ignored but for its being known.
        mode: "visible" or "hidden".
        append: "dict" or "flat".
        units: "normalised" or "raw".
        fixed: The task, by name; else each episode draws one of training.
        split: As `make_splits` takes it.
        grid: Tasks.
        high: Greatest drift.
        length: Steps of an episode.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        mode="visible",
        append="flat",
        units="normalised",
        fixed=None,
        split="tasks",
        grid=20,
        high=0.9,
        length=8,
        render_mode=None,
    ):
        self.context_space = line_space(high=high)
        self.splits = make_splits(self.context_space, split, **({"grid": grid} if split == "tasks" else {}))
        self.context_mode, self.append, self.units, self.length = mode, append, units, length
        self.fixed = None if fixed is None else self.context_space.array(fixed)
        self.context = self.context_space.default
        box = spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
        seen = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        if mode == "hidden":
            self.observation_space = box
        elif append == "flat":
            self.observation_space = spaces.Box(-np.inf, np.inf, (SIZE + 1,), np.float32)
        else:
            self.observation_space = spaces.Dict({"context": seen, "observation": box})
        # Not symmetric: actions have to be rescaled.
        self.action_space = spaces.Box(-1, 3, (SIZE,), np.float32)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        drawn = self.splits.draw(self.np_random)
        self.context = drawn if self.fixed is None else self.fixed
        self.steps = 0
        self.state = self.np_random.uniform(-1, 1, SIZE)
        return self.observe(), {"context": self.context.copy()}

    def step(self, action):
        # The environment's actions of [-1, 3] mean [-1, 1].
        pushed = (np.asarray(action, np.float64) - 1) / 2
        reward = 1 - float(self.state @ self.state)
        self.state = self.context[0] * self.state + pushed + self.np_random.uniform(-0.1, 0.1, SIZE)
        self.steps += 1
        return self.observe(), reward, False, self.steps >= self.length, {"context": self.context.copy()}

    def snapshot_state(self):
        return {"context": self.context.copy(), "state": self.state.copy(), "steps": self.steps}

    def restore_snapshot(self, snapshot):
        self.context, self.state = np.array(snapshot["context"]), np.array(snapshot["state"])
        self.steps = snapshot["steps"]

    def observe(self):
        state = self.state.astype(np.float32)
        if self.context_mode == "hidden":
            return state
        raw = self.context if self.units == "raw" else self.context_space.normalise(self.context)
        seen = np.asarray(raw, np.float32)
        if self.append == "flat":
            return np.concatenate([state, seen])
        return {"context": seen, "observation": state}


gym.register("zero/Line-v0", entry_point=LineEnv)


def line_transitions(drift, rows, rng):
    """What the closed-form controller does in one task; noise does not come."""
    states = rng.uniform(-1, 1, (rows, SIZE))
    rewards = 1 - (states**2).sum(1)
    # From 0 on it stays there: each further step is worth 1.
    values = rewards + GAMMA / (1 - GAMMA)
    return Transitions(
        states=states,
        actions=solve(drift, states),
        rewards=rewards,
        next_states=np.zeros_like(states),
        terminated=np.zeros(rows),
        values=values,
    )


def line_dataset(folder, rows=64, grid=20, high=0.9, with_tests=True, env_kwargs=None):
    """Write a data set of the family: training tasks, and the tests beside them."""
    rng = np.random.default_rng(0)
    splits = make_splits(line_space(high=high), "tasks", grid=grid)
    dataset = Dataset(folder)
    tasks = []
    for split in splits.names if with_tests else ("train",):
        for context in splits.contexts(split):
            transitions = line_transitions(context[0], rows, rng)
            tasks.append(
                dataset.add(
                    f"task-{len(tasks):03}",
                    split,
                    context,
                    transitions,
                    expert={"agent": "closed form"},
                    label="critic",
                    returns=[float(transitions.rewards.sum())],
                )
            )
    dataset.finish(env=ENV, env_kwargs=env_kwargs or {}, splits=splits, gamma=GAMMA, tasks=tasks)
    return dataset
