"""Every parameter of every suite, and what episodes in a context show."""

from __future__ import annotations

import functools

import gymnasium as gym
import mujoco
import numpy as np

from hyperrl_envs.contextual import suite_of
from hyperrl_envs.contextual.arrays import read_arrays
from hyperrl_envs.contextual.ids import SUITES

GYMNASIUM = {
    "hyperrl/ContextualAnt-v0": "ant.xml",
    "hyperrl/ContextualHalfCheetah-v0": "half_cheetah.xml",
    "hyperrl/ContextualHopper-v0": "hopper.xml",
    "hyperrl/ContextualWalker2d-v0": "walker2d_v5.xml",
}
"""The suites around Gymnasium's own tasks, and the files of their models."""

PARAMETERS = [(env_id, name) for env_id in SUITES for name in suite_of(env_id).params.names]


def make(env_id, *names, **settings):
    """Build an environment whose contexts have some parameters, all where none is named."""
    context = list(names or suite_of(env_id).params.names)
    return gym.make(env_id, context=context, disable_env_checker=True, **settings)


@functools.cache
def shared(env_id, name):
    """An environment for all tests of a parameter, and its model as it was built."""
    env = make(env_id, name)
    return env, model_of(env)


def values_of(param):
    """Some values of a parameter, the ends of its range among them, none of them the default."""
    if param.choices:
        values = {min(param.choices), max(param.choices)}
    else:
        values = {param.low, param.high, param.low + 0.37 * (param.high - param.low)}
    return sorted(values - {param.default})


def random_context(space, generator):
    """A context from all that there are."""
    units = generator.random(len(space))
    return np.array(
        [
            param.choices[int(unit * len(param.choices))]
            if param.choices
            else param.low + unit * (param.high - param.low)
            for param, unit in zip(space, units, strict=True)
        ]
    )


def model_of(env):
    """Copies of all arrays of an environment's model, none where it has no model."""
    model = getattr(env.unwrapped, "model", None)
    return read_arrays(model) if isinstance(model, mujoco.MjModel) else {}


def trajectory(env, seed, context, steps=8):
    """Observations, rewards and end of an episode with random actions, as one list of arrays."""
    observation, _ = env.reset(seed=seed, options=None if context is None else {"context": context})
    shown = [flat(observation)]
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        action = generator.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        shown += [flat(observation), np.array([reward, terminated])]
        if terminated or truncated:
            break
    return shown


def flat(observation):
    """An observation as one array."""
    if isinstance(observation, dict):
        return np.concatenate([observation["observation"], observation["context"]])
    return np.array(observation)


def same(some, others):
    return len(some) == len(others) and all(map(np.array_equal, some, others))
