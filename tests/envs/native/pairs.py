"""Native environments beside Gymnasium's own, stepped alike."""

from __future__ import annotations

import numpy as np

from hyperrl.environments import make_env
from hyperrl_envs.native import NativeMujocoVectorEnv


class Separate:
    """Environments of Gymnasium, one by one, each with a new episode as soon as one ends."""

    def __init__(self, env_id, count, **kwargs):
        self.envs = [make_env(env_id, kwargs) for _ in range(count)]

    def reset(self, seed):
        return [env.reset(seed=seed + index) for index, env in enumerate(self.envs)]

    def step(self, actions):
        """Return observation, reward, terminated, truncated, info and the reset that followed, for each."""
        results = []
        for env, action in zip(self.envs, actions, strict=True):
            *step, info = env.step(action)
            again = env.reset() if step[2] or step[3] else None
            results.append((*step, info, again))
        return results


def random_actions(env_id, steps, count, seed=1):
    space = make_env(env_id).action_space
    generator = np.random.default_rng(seed)
    size = (steps, count, *space.shape)
    return generator.uniform(space.low, space.high, size).astype(np.float32)


def of_one(infos, index):
    """The info of one environment, out of what Gymnasium's vector interface makes of them."""
    values = {name: value for name, value in infos.items() if name[0] != "_" and infos[f"_{name}"][index]}
    return {
        name: of_one(value, index) if isinstance(value, dict) else value[index]
        for name, value in values.items()
    }


def assert_equal_infos(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert np.array_equal(found[name], value), (name, found[name], value)


def assert_same_steps(env_id, actions, seed=3, native=None, **kwargs):
    """Step native and separate environments and compare every bit; returns how many episodes ended how."""
    count = actions.shape[1]
    separate = Separate(env_id, count, **kwargs)
    native = native or NativeMujocoVectorEnv(env_id, count, **kwargs)
    assert native.single_observation_space == separate.envs[0].observation_space
    assert native.single_action_space == separate.envs[0].action_space
    observations, infos = native.reset(seed=seed)
    for index, (observation, info) in enumerate(separate.reset(seed)):
        assert np.array_equal(observations[index], observation)
        assert_equal_infos(of_one(infos, index), info)
    ends = {"terminated": 0, "truncated": 0}
    for batch in actions:
        observations, rewards, terminated, truncated, infos = native.step(batch)
        assert observations.dtype == rewards.dtype == np.float64
        for index, (observation, reward, *ended, info, again) in enumerate(separate.step(batch)):
            found = of_one(infos, index)
            assert (rewards[index], [terminated[index], truncated[index]]) == (reward, ended)
            ends["terminated"] += ended[0]
            ends["truncated"] += ended[1]
            if again is not None:
                assert np.array_equal(found.pop("final_obs"), observation)
                assert_equal_infos(found.pop("final_info"), info)
                observation, info = again
            assert np.array_equal(observations[index], observation)
            assert_equal_infos(found, info)
    native.close()
    return ends
