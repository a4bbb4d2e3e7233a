"""Episodes of meta-learning's tasks, and what MuJoCo's state was before and after each of their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from hyperrl.environments import make_env


@dataclass(frozen=True)
class Moment:
    """A step, with copies of the simulation around it."""

    before: Any
    after: Any
    action: Any
    observation: Any
    reward: float
    terminated: bool
    dt: float


def moments(env_id, context, steps=25, size=1.0, **settings):
    """Play an episode in a context with random actions."""
    env = make_env(env_id, {**settings, "mode": "hidden"})
    base, generator = env.unwrapped, np.random.default_rng(0)
    env.reset(seed=3, options={"context": context})
    for _ in range(steps):
        before = copied(base)
        action = (size * generator.uniform(env.action_space.low, env.action_space.high)).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        yield Moment(before, copied(base), action, observation, reward, terminated, base.dt)
        if terminated or truncated:
            break


def copied(base):
    data = mujoco.MjData(base.model)
    mujoco.mj_copyData(data, base.model, base.data)
    return data
