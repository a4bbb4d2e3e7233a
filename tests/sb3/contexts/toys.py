"""Tasks with contexts that cost nothing."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hyperrl.context import ContextParam, ContextSpace

SPACE = ContextSpace(
    (
        ContextParam("sign", -2.0, 2.0, default=1.0, op="set", train=(-1.0, 1.0)),
        ContextParam("scale", 0.1, 10.0, log=True),
    )
)
CONTEXTS = np.array([[-1.0, 1.0], [1.0, 1.0], [1.0, 4.0], [-0.5, 0.2]])


class ContextTask(gym.Env):
    """Bring the action near the observation, times the sign that the context gives.

    Args:
        append: "dict" or "flat".
        mode: "visible", "hidden" or "privileged".
        space: The contexts.
    """

    units = "normalised"

    def __init__(self, append="dict", mode="visible", space=SPACE, length=8):
        self.context_space, self.context_mode, self.append, self.length = space, mode, append, length
        box = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        context = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = box
        if mode != "hidden":
            flat = spaces.Box(-np.inf, np.inf, (5,), np.float32)
            whole = spaces.Dict({"observation": box, "context": context})
            self.observation_space = whole if append == "dict" else flat
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.context, self.fixed, self.steps = CONTEXTS[0], None, 0
        self.state = np.zeros(3, np.float32)

    def set_fixed_context(self, context):
        self.fixed = context

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        drawn = CONTEXTS[self.np_random.integers(len(CONTEXTS))]
        self.context = drawn if self.fixed is None else np.asarray(self.fixed)
        self.steps = 0
        return self.observe(), {"context": self.context.copy()}

    def observe(self):
        self.state = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        code = self.context_space.normalise(self.context).astype(np.float32)
        if self.context_mode == "hidden":
            return self.state
        if self.append == "dict":
            return {"observation": self.state, "context": code}
        return np.concatenate([self.state, code])

    def step(self, action):
        error = np.asarray(action) - 0.5 * self.context[0] * self.state[:2]
        self.steps += 1
        return self.observe(), -float(error @ error), False, self.steps >= self.length, {}

    def snapshot_state(self):
        random = self.np_random.bit_generator.state
        return {
            "state": self.state.copy(),
            "context": self.context.copy(),
            "steps": self.steps,
            "random": random,
        }

    def restore_snapshot(self, state):
        self.state, self.context, self.steps = state["state"].copy(), state["context"].copy(), state["steps"]
        self.np_random.bit_generator.state = state["random"]


def policy_of(append):
    """The policy's name for a kind of observations."""
    return "MultiInputPolicy" if append == "dict" else "MlpPolicy"
