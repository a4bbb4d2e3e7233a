"""Contextual environments that are stepped together beside those that Gymnasium builds one by one."""

from __future__ import annotations

import numpy as np

from hyperrl.environments import make_vec_env


def both(env_id, count=3, seed=5, **settings):
    """Gymnasium's in a `DummyVecEnv`, and the native ones, both of them seeded."""
    return [make_vec_env(env_id, settings, count, seed, native=native) for native in (False, True)]


def random_actions(venv, steps, seed=0):
    size = (steps, venv.num_envs, *venv.action_space.shape)
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def assert_same(found, expected, path=""):
    """Compare nested dictionaries of arrays and numbers, but for the times of episodes."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), path
        for name in set(expected) - {"t"}:
            assert_same(found[name], expected[name], f"{path}/{name}")
    else:
        found, expected = np.asarray(found), np.asarray(expected)
        if expected.ndim:  # Single numbers of native infos are Python's.
            assert found.dtype == expected.dtype, (path, found.dtype, expected.dtype)
        assert np.array_equal(found, expected), (path, found, expected)


def assert_same_steps(dummy, native, actions):
    """Step both and compare every bit; returns how many episodes ended, and the contexts that were seen."""
    ends, contexts = 0, set()
    for batch in actions:
        expected, found = dummy.step(batch), native.step(batch)
        for name, left, right in zip(("observations", "rewards", "dones"), found, expected, strict=False):
            assert_same(left, right, name)
        for index in range(dummy.num_envs):
            assert_same(found[3][index], expected[3][index], f"info {index}")
            assert_same(native.reset_infos[index], dummy.reset_infos[index], f"reset info {index}")
            contexts.add(found[3][index]["context_id"])
        ends += int(expected[2].sum())
    return ends, contexts
