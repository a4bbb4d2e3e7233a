"""`check_agent` catches agents that learn from NaN, or act on it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.vec_env import VecEnvWrapper

from hyperrl.errors import NonFiniteError
from hyperrl.registry import agents
from hyperrl.testing import AgentCheckError, check_agent
from hyperrl.testing.agent_health import check_finite_predict, check_health
from hyperrl.testing.agent_subject import Subject
from tests.sb3.toys import DictEnv, PointEnv

SMALL = {"policy_kwargs": {"net_arch": [8]}}


def subject(agent_class):
    return Subject(agent_class, PointEnv, "MlpPolicy", SMALL, steps=48)


class Cleaning(VecEnvWrapper):
    """Puts zero in the place of NaN."""

    def __init__(self, venv, rewards, observations):
        super().__init__(venv)
        self.parts = rewards, observations

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        if self.parts[0]:
            rewards = np.nan_to_num(rewards)
        if self.parts[1]:
            observations = np.nan_to_num(observations)
        return observations, rewards, dones, infos


class SwallowsRewards(TD3):
    """Takes NaN rewards for zero."""

    @staticmethod
    def _wrap_env(env, verbose=0, monitor_wrapper=True):
        return Cleaning(TD3._wrap_env(env, verbose, monitor_wrapper), rewards=True, observations=False)


class SwallowsObservations(TD3):
    """Takes NaN in observations for zero."""

    @staticmethod
    def _wrap_env(env, verbose=0, monitor_wrapper=True):
        return Cleaning(TD3._wrap_env(env, verbose, monitor_wrapper), rewards=False, observations=True)


class Silent(TD3):
    """Ends without a word."""

    def learn(self, *args, **kwargs):
        try:
            return super().learn(*args, **kwargs)
        except NonFiniteError:
            return self


class Quitting(TD3):
    """Fails with an error that says nothing."""

    def learn(self, *args, **kwargs):
        try:
            return super().learn(*args, **kwargs)
        except NonFiniteError as error:
            raise RuntimeError("something went wrong") from error


class Late(TD3):
    """Calls its callbacks in every tenth step, and not between rollouts."""

    def _init_callback(self, callback, progress_bar=False):
        callback = super()._init_callback(callback, progress_bar)
        now, callback.calls = callback.on_step, 0

        def on_step():
            callback.calls += 1
            return callback.calls % 10 > 0 or now()

        callback.on_step = on_step
        callback.on_rollout_start = lambda: None
        return callback


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (
            SwallowsRewards,
            "goes on learning after its environment gave a NaN reward: HealthCallback cannot stop it",
        ),
        (SwallowsObservations, "goes on learning after its environment gave a NaN observation"),
        (Silent, "goes on learning after its environment gave a NaN reward"),
        (
            Quitting,
            "NaN reward: HealthCallback cannot stop it, or fails far from the cause with RuntimeError",
        ),
        (Late, "updates after its environment gave a NaN reward until HealthCallback can stop it"),
    ],
)
def test_an_agent_that_learns_from_nan_is_caught(broken, sentence):
    with pytest.raises(AgentCheckError) as caught:
        check_health(subject(broken))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(broken.__name__)


class Refusing(TD3):
    """Refuses what a subclass calls wrong."""

    def predict(self, observation, *args, **kwargs):
        if self.is_wrong(observation):
            raise NonFiniteError("this observation is not finite")
        return super().predict(observation, *args, **kwargs)


class Careful(Refusing):
    def is_wrong(self, observation):
        return not np.isfinite(observation).all()


class TakesInfinity(Refusing):
    def is_wrong(self, observation):
        return np.isnan(observation).any()


class TakesMinusInfinity(Refusing):
    def is_wrong(self, observation):
        return not (observation < np.inf).all()


class LooksAtFirstRows(Refusing):
    def is_wrong(self, observation):
        return not np.isfinite(np.atleast_2d(observation)[0]).all()


class FailsSomewhere(TD3):
    def predict(self, observation, *args, **kwargs):
        if np.isnan(observation).any():
            raise ZeroDivisionError("division by zero")
        return super().predict(observation, *args, **kwargs)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (TD3, "takes an observation of nan"),
        (TakesInfinity, "takes an observation of inf"),
        (TakesMinusInfinity, "takes an observation of -inf"),
        (LooksAtFirstRows, "takes an observation of nan"),
        (FailsSomewhere, "takes an observation of nan, or fails far from the cause with ZeroDivisionError"),
    ],
)
def test_an_agent_that_acts_on_what_is_not_finite_is_caught(broken, sentence):
    with pytest.raises(AgentCheckError) as caught:
        check_finite_predict(subject(broken), subject(broken).build())
    assert str(caught.value).startswith(f"{broken.__name__}.predict {sentence}")


def test_learning_from_nan_is_part_of_the_whole_check():
    with pytest.raises(AgentCheckError, match="Silent goes on learning"):
        check_agent(Silent, PointEnv, agent_kwargs=SMALL)


def test_an_agent_that_refuses_them_passes():
    check_agent(Careful, PointEnv, agent_kwargs=SMALL, finite_predict=True)


def test_registered_agents_must_refuse_them(monkeypatch):
    class Registered(TD3):
        pass

    check_agent(Registered, PointEnv, agent_kwargs=SMALL)
    monkeypatch.setitem(agents._registered, "a-new-one", Registered)
    with pytest.raises(AgentCheckError, match="takes an observation of nan"):
        check_agent(Registered, PointEnv, agent_kwargs=SMALL)
    check_agent(Registered, PointEnv, agent_kwargs=SMALL, finite_predict=False)


class SwallowsKey(PPO):
    """Takes NaN in a dictionary of observations for zero."""

    def collect_rollouts(self, env, callback, *args, **kwargs):
        step = env.step_wait

        def clean():
            observations, *rest = step()
            return ({key: np.nan_to_num(part) for key, part in observations.items()}, *rest)

        env.step_wait = clean
        try:
            return super().collect_rollouts(env, callback, *args, **kwargs)
        finally:
            del env.step_wait


def test_dictionaries_of_observations_are_looked_at():
    settings = {"batch_size": 16, "n_epochs": 2, **SMALL}
    check_agent(PPO, DictEnv, policy="MultiInputPolicy", agent_kwargs=settings)
    with pytest.raises(AgentCheckError, match=r"SwallowsKey goes on learning .* NaN observation"):
        check_agent(SwallowsKey, DictEnv, policy="MultiInputPolicy", agent_kwargs=settings)
    with pytest.raises(AgentCheckError, match=r"PPO.predict takes an observation of nan"):
        check_agent(PPO, DictEnv, policy="MultiInputPolicy", agent_kwargs=settings, finite_predict=True)


class Lamp(gym.Env):
    """On or off: what is observed cannot be NaN, and what is rewarded can."""

    observation_space = spaces.MultiBinary(1)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.int8), {}

    def step(self, action):
        self.steps += 1
        return np.array([self.steps % 2], np.int8), -float(action[0] ** 2), False, self.steps >= 10, {}


def test_observations_that_cannot_hold_nan_are_left_out():
    check_agent(PPO, Lamp, agent_kwargs={"batch_size": 16, **SMALL}, finite_predict=True)
