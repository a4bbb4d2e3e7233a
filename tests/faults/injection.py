"""Environments, agents and callbacks in which a value becomes NaN or infinite at a chosen moment."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl.registry import agents
from hyperrl_agents.hyper_ppo import HyperPPO
from hyperrl_agents.recurrent_hyper import RecurrentHyper

NETWORKS = {"net_arch": [8]}
CRITIC = {"critic": {"hidden": [8], "trunk_hidden": [8], "features": 4}}
OFF_POLICY = {"learning_starts": 6, "batch_size": 16, "buffer_size": 300, "train_freq": 1}
ON_POLICY = {"n_steps": 4, "batch_size": 6, "n_epochs": 2}
ENVS = 3
BAD_ENV = 1
EPISODE = 5
# What learns from a data set never sees these environments, and what learns many tasks finds none in them:
# `check_agent` looks at their numbers. What remembers acts on other observations than these environments
# give: tests/agents/recurrent_hyper.
ONLINE = [
    name
    for name in agents.names()
    if not any(getattr(agents.get(name), word, False) for word in ("learns_offline", "learns_tasks"))
    and name != "recurrent-hyper"
]


class Faulty(gym.Env):
    """Random numbers, episodes of five steps, and one bad value.

    Args:
        fault: What goes bad: "obs", "reward", "context", "terminal" (the last observation of an episode),
            "first" (the first one of the next), "reset" (the very first one); None for nothing.
        value: The bad value.
        step: At which step over all episodes, or at the first end of an episode from there on.
        in_dict: Whether observations are dicts.
        context: Whether the context is an array rather than a dict.
    """

    def __init__(self, fault=None, value=np.nan, step=9, in_dict=False, context="dict"):
        box = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.observation_space = (
            spaces.Dict({"goal": spaces.Box(-1, 1, (2,), np.float32), "sense": box}) if in_dict else box
        )
        self.action_space = spaces.Box(-1, 2, (2,), np.float32)
        self.fault, self.value, self.at, self.in_dict, self.context = fault, value, step, in_dict, context
        self.steps = self.resets = self.steps_since_fault = 0
        self.injected = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets += 1
        first = self.fault == "reset" and self.resets == 1
        return self.observe(first or (self.fault == "first" and self.due())), {}

    def due(self):
        return self.steps >= self.at and not self.injected

    def observe(self, bad):
        values = self.np_random.normal(size=3).astype(np.float32)
        if bad:
            values[2] = self.value
            self.injected = True
        if not self.in_dict:
            return values
        return {"goal": self.np_random.uniform(-1, 1, 2).astype(np.float32), "sense": values}

    def step(self, action):
        self.steps_since_fault += self.injected
        self.steps += 1
        done = self.steps % EPISODE == 0
        now = self.steps == self.at
        observation = self.observe(
            (self.fault == "obs" and now) or (self.fault == "terminal" and done and self.due())
        )
        mass = self.value if self.fault == "context" and now else 1.0
        context = np.array([0.5, mass]) if self.context == "array" else {"name": "x", "mass": mass}
        reward = self.value if self.fault == "reward" and now else float(np.sin(self.steps))
        self.injected |= now and self.fault in ("context", "reward")
        return observation, reward, False, done, {"context": context}


class At(BaseCallback):
    """Does something once, at the n-th step of the environments."""

    def __init__(self, n, act):
        super().__init__()
        self.n, self.act, self.steps_after = n, act, 0

    def _on_step(self):
        self.steps_after += self.n_calls > self.n
        if self.n_calls == self.n:
            self.act(self.model)
        return True


class FaultyTrain:
    """Stands in for an agent's `train`: something is done before and after the n-th update."""

    def __init__(self, agent, n=4, before=None, after=None):
        self.agent, self.n, self.before, self.after, self.calls = agent, n, before, after, 0
        self.own = agent.train
        agent.train = self

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self.n and self.before is not None:
            self.before(self.agent)
        self.own(*args, **kwargs)
        if self.calls == self.n and self.after is not None:
            self.after(self.agent)

    @property
    def calls_after(self):
        return self.calls - self.n


def on_policy(name):
    """Whether an agent learns from rollouts."""
    return issubclass(agents.get(name), PPO)


def build(name, env=None, cls=None, normalised=False, **kwargs):
    """Build a small agent, on three healthy environments if none are given."""
    cls = cls or agents.get(name)
    env = env or make_envs()
    if normalised:
        env = VecNormalize(env)
    policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"
    sizes = ON_POLICY if issubclass(cls, PPO) else OFF_POLICY
    if policy not in cls.policy_aliases:
        pytest.skip(f"{name} has no {policy}")
    networks = {**NETWORKS, **(CRITIC if name in ("hyper-td3", "hyper-sac") else {})}
    if issubclass(cls, HyperPPO):
        networks |= {"architectures": [[4], [8]], "generator": "nested"}
    if issubclass(cls, RecurrentHyper):
        networks |= {"hidden_size": 8, "state_features": 8, "latent_features": 4}
        sizes = {**sizes, "batch_size": None}  # Its minibatches are whole sequences.
    return cls(policy, env, policy_kwargs=networks, seed=0, device="cpu", **{**sizes, **kwargs})


def make_envs(fault=None, value=np.nan, **kwargs):
    """Three environments, of which the second one has a fault."""
    return DummyVecEnv(
        [lambda i=i: Faulty(fault if i == BAD_ENV else None, value, **kwargs) for i in range(ENVS)]
    )


def critic_weight(agent):
    """Name and tensor of the first weight that judges values."""
    wanted = "value_net." if isinstance(agent, PPO) else "critic."
    return next((name, p) for name, p in agent.policy.named_parameters() if name.startswith(wanted))


def actor_weight(agent):
    """Name and tensor of the first weight that acts."""
    wanted = "action_net." if isinstance(agent, PPO) else "actor."
    wanted = "generator." if isinstance(agent, HyperPPO) else wanted
    return next((name, p) for name, p in agent.policy.named_parameters() if name.startswith(wanted))


def spoil(tensor, value):
    """Put a value into the last place of a tensor."""
    with th.no_grad():
        tensor.view(-1)[-1] = value
