import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from hyperrl.environments import make_env
from hyperrl.errors import NonFiniteError
from hyperrl.evaluation.rollout import play_episode, play_episodes


class Counting(gym.Env):
    """Rewards the action at each step; ends by itself after as many steps as the seed says."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, truncate=False, bad_reward_at=None):
        self.truncate, self.bad_reward_at = truncate, bad_reward_at

    def reset(self, *, seed=None, options=None):
        self.limit, self.count = seed, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        over = self.count == self.limit
        reward = float("nan") if self.count == self.bad_reward_at else float(action[0])
        return (
            np.full(1, self.count, np.float32),
            reward,
            over and not self.truncate,
            over and self.truncate,
            {},
        )


class Constant:
    """Acts the same always and remembers how it was asked."""

    def __init__(self, value):
        self.value, self.asked = value, []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.asked.append((state, bool(episode_start[0]), deterministic))
        return np.full(1, self.value, np.float32), (0 if state is None else state) + 1


@pytest.mark.parametrize("truncate", [False, True])
def test_an_episode_sums_its_rewards(truncate):
    episode = play_episode(Constant(0.5), Counting(truncate), seed=7)
    assert (episode.seed, episode.episode_return, episode.length) == (7, 3.5, 7)
    assert episode.terminated is not truncate


def test_the_recurrent_state_and_the_start_are_passed_on():
    policy = Constant(0.0)
    play_episodes(policy, Counting(), [2, 3])
    assert policy.asked == [
        (None, True, True),
        (1, False, True),
        (None, True, True),
        (1, False, True),
        (2, False, True),
    ]


def test_exploration_is_only_on_demand():
    policy = Constant(0.0)
    play_episode(policy, Counting(), 1, deterministic=False)
    assert policy.asked == [(None, True, False)]


def test_the_seed_decides_the_episode():
    env = make_env("Pendulum-v1")
    first, again, other = play_episodes(Constant(0.1), env, [3, 3, 4])
    assert first == again
    assert other.episode_return != first.episode_return


def test_values_that_are_not_finite_are_named():
    with pytest.raises(NonFiniteError, match="action at step 0 of the episode with seed 5"):
        play_episode(Constant(float("nan")), Counting(), 5)
    with pytest.raises(NonFiniteError, match="reward at step 2 of the episode with seed 5"):
        play_episode(Constant(0.0), Counting(bad_reward_at=3), 5)
