"""Where environments cannot be captured, new episodes begin, and nothing reaches from one into another."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.run import state
from hyperrl_agents.hyper_td3 import HyperTD3
from tests.run.resuming import Continue, assert_equal, digests, train
from tests.run.small_agents import (
    HINDSIGHT,
    ONE,
    SHORT,
    build,
    several,
)
from tests.sb3.toys import PointEnv


class Opaque(PointEnv):
    def __init__(self):
        super().__init__()
        self.opaque = object()


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [
        (HyperTD3, {}),
        (SAC, {"n_steps": 3}),
        (TD3, SHORT),
        (PPO, {}),
        (TD3, {"action_noise": lambda: OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2))}),
    ],
    ids=["td3", "n-step", "one array", "ppo", "ou noise"],
)
def test_where_environments_cannot_be_captured_new_episodes_begin(cls, kwargs):
    def make_agent(seed):
        made = {name: value() if callable(value) else value for name, value in kwargs.items()}
        return build(cls, lambda: VecNormalize(several(Opaque, 2)), seed, **made)

    _, interrupt = train(make_agent, 80, 36)
    looks, ends = [], []
    for seed in (2, 3):
        back = Continue(interrupt.saved[0], interrupt.store, look=lambda agent: looks.append(look(agent)))
        agent = make_agent(seed).learn(80, callback=back)
        (sentence,) = back.sentences
        assert sentence.startswith("all environments begin a new episode, since the state of Opaque cannot")
        assert agent.num_timesteps == 80
        ends.append(digests(agent))
    # What goes on does not depend on the agent that was built, nor on its seed.
    assert_equal(*looks)
    assert_equal(*ends)


def look(agent):
    """Check what belongs to an episode at its beginning, and return the digests of all."""
    assert agent._last_episode_starts.all()
    original = agent._vec_normalize_env.get_original_obs()
    np.testing.assert_array_equal(agent._last_original_obs, original)
    np.testing.assert_array_equal(agent._last_obs, agent._vec_normalize_env.normalize_obs(original))
    assert not any(env.rewards for env in agent.env.unwrapped.envs)
    for noise in getattr(agent.action_noise, "noises", ()):
        assert not np.any(vars(noise).get("noise_prev", 0.0))
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is not None:
        assert buffer.dones[buffer.pos - 1].all()
        # Without the distinction it counts as a terminal state, as in Stable-Baselines3.
        assert buffer.timeouts[buffer.pos - 1].all() == buffer.handle_timeout_termination
    return digests(agent)


def test_a_real_end_of_an_episode_stays_one_where_new_episodes_begin():
    agent = build(TD3, ONE, 1).learn(30)
    buffer, observations = agent.replay_buffer, agent.env.reset()
    buffer.dones[buffer.pos - 1], buffer.timeouts[buffer.pos - 1] = 1.0, 0.0
    state._begin_episodes(agent, observations)
    assert buffer.dones[buffer.pos - 1] == 1.0
    assert buffer.timeouts[buffer.pos - 1] == 0.0


def test_hindsight_forgets_no_step_where_new_episodes_begin():
    class OpaqueGoals(BitFlippingEnv):
        def __init__(self):
            super().__init__(n_bits=3, continuous=True, max_steps=9)
            self.opaque = object()

    def make_agent(seed):
        return build(SAC, lambda: several(OpaqueGoals, 2), seed, **HINDSIGHT)

    _, interrupt = train(make_agent, 90, 40)
    lengths = []

    def look_at_lengths(agent):
        buffer = agent.replay_buffer
        lengths.append((buffer.ep_length[: buffer.pos] > 0).all())
        assert (buffer._current_ep_start == buffer.pos).all()

    back = Continue(interrupt.saved[0], interrupt.store, look=look_at_lengths)
    make_agent(2).learn(90, callback=back)
    assert lengths == [True]
