"""`check_agent` accepts all that is registered and catches what is broken."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC, TD3

from hyperrl.errors import HyperRLError
from hyperrl.registry import agents
from hyperrl.testing import AgentCheckError, check_agent
from tests.agents.hyper_zero.lines import LineEnv, line_dataset
from tests.sb3.meta.reaching import ReachEnv
from tests.sb3.toys import DictEnv, PointEnv

SMALL = {"policy_kwargs": {"net_arch": [8]}}
# Published networks take long: these agents have other arguments for smaller ones.
CRITIC = {"policy_kwargs": {"net_arch": [8], "critic": {"hidden": [8], "trunk_hidden": [8], "features": 4}}}
SMALLER = {
    "hyper-td3": CRITIC,
    "hyper-sac": CRITIC,
    "hyper-ppo": {"policy_kwargs": {"net_arch": [8], "architectures": [[4], [8]], "generator": "nested"}},
    "recurrent-hyper": {
        "policy_kwargs": {"hidden_size": 8, "state_features": 8, "latent_features": 4, "net_arch": [8]}
    },
}
# Agents that learn many tasks: where they are checked, and sizes that a few episodes of it fill.
TASKS = {
    "hyper-maml": (
        ReachEnv,
        {
            "meta_batch_size": 2,
            "episodes_per_task": 1,
            "policy_kwargs": {"actor": {"kind": "hyper", "trunk_hidden": [8], "hidden": [8]}},
        },
    ),
    "hyper-pearl": (
        functools.partial(ReachEnv, mode="hidden", split={"n_train": 3}),
        {
            **dict.fromkeys(("initial_steps", "prior_steps", "extra_steps"), 6),
            **{"tasks_per_iteration": 1, "gradient_steps": 1, "batch_size": 8, "context_batch_size": 4},
            "policy_kwargs": {"primary": [8], "net_arch": [8], "encoder_arch": [8]},
        },
    ),
}


@pytest.mark.parametrize("name", agents.names())
def test_every_registered_agent_keeps_its_promises(name, tmp_path):
    agent_class = agents.get(name)
    if getattr(agent_class, "learns_offline", False):
        data = {"dataset": str(line_dataset(tmp_path).folder), "tasks_per_batch": 2, "rows_per_task": 4}
        check_agent(agent_class, LineEnv, agent_kwargs={**data, "policy_kwargs": {"embedding": [8]}})
    elif getattr(agent_class, "learns_tasks", False):
        env, agent_kwargs = TASKS[name]
        check_agent(agent_class, env, agent_kwargs=agent_kwargs)
    else:
        check_agent(agent_class, PointEnv, agent_kwargs=SMALLER.get(name, SMALL))


def test_the_default_environment_and_dictionaries_of_observations():
    check_agent(agents.get("hyper-td3"), agent_kwargs=CRITIC)
    check_agent(agents.get("hyper-sac"), DictEnv, policy="MultiInputPolicy", agent_kwargs=CRITIC)


def test_on_policy_and_discrete_agents_can_be_checked_too():
    check_agent(PPO, PointEnv, agent_kwargs={"batch_size": 16, **SMALL})
    check_agent(DQN, "CartPole-v1", agent_kwargs={"exploration_initial_eps": 0.5, **SMALL})


class Random(TD3):
    """Acts at random."""

    def predict(self, observation, *args, **kwargs):
        action, state = super().predict(observation, *args, **kwargs)
        return np.clip(action + np.random.uniform(0, 0.1, action.shape), -1, 2).astype(np.float32), state


class OutOfBounds(TD3):
    """Leaves the action space."""

    def predict(self, observation, *args, **kwargs):
        action, state = super().predict(observation, *args, **kwargs)
        return action + 10, state


class Flat(TD3):
    """Gives actions without a batch dimension."""

    def predict(self, observation, *args, **kwargs):
        action, state = super().predict(observation, *args, **kwargs)
        return action.reshape(-1), state


class Batchwise(TD3):
    """Lets the rows of a batch see each other."""

    def predict(self, observation, *args, **kwargs):
        action, state = super().predict(observation, *args, **kwargs)
        return (action - action.mean(0) if action.ndim == 2 else action), state


class Meddling(TD3):
    """Writes into the observation."""

    def predict(self, observation, *args, **kwargs):
        result = super().predict(observation, *args, **kwargs)
        observation *= 0.5
        return result


class Learning(TD3):
    """Learns while it should only act."""

    def predict(self, observation, *args, **kwargs):
        result = super().predict(observation, *args, **kwargs)
        with th.no_grad():
            next(self.policy.parameters()).add_(1e-3)
        return result


class Idle(TD3):
    """Never learns."""

    def train(self, gradient_steps, batch_size=100):
        pass


class Diverging(TD3):
    """Ends in NaN."""

    def train(self, gradient_steps, batch_size=100):
        with th.no_grad():
            next(self.actor.parameters()).fill_(float("nan"))


class Unseeded(TD3):
    """Draws random numbers past its seed."""

    def train(self, gradient_steps, batch_size=100):
        super().train(gradient_steps, batch_size)
        generator = th.Generator()
        generator.seed()
        with th.no_grad():
            next(self.actor.parameters()).add_(th.rand(1, generator=generator) * 1e-3)


class Forgetful(TD3):
    """Saves its settings and not its parameters."""

    def get_parameters(self):
        fresh = type(self)("MlpPolicy", self.env, policy_kwargs=self.policy_kwargs, device="cpu")
        return TD3.get_parameters(fresh)


class Spent(TD3):
    """Does not go on after loading."""

    @classmethod
    def load(cls, *args, **kwargs):
        loaded = super().load(*args, **kwargs)
        loaded.train = lambda gradient_steps, batch_size=100: None
        return loaded


class Omnivorous(TD3):
    """Takes discrete actions and fails later."""

    def __init__(self, policy, env, **kwargs):
        if isinstance(env.action_space, spaces.Discrete):
            return
        super().__init__(policy, env, **kwargs)


class Careless(TD3):
    """Fails far from the cause."""

    def __init__(self, policy, env, **kwargs):
        if isinstance(env.action_space, spaces.Text):
            raise ZeroDivisionError("division by zero")
        super().__init__(policy, env, **kwargs)


class Deaf(TD3):
    """Takes a step more or less, whatever it is asked."""

    def learn(self, total_timesteps, *args, **kwargs):
        return super().learn(total_timesteps // 2, *args, **kwargs)


class Constant(SAC):
    """Ignores its seed."""

    def __init__(self, policy, env, seed=0, **kwargs):
        super().__init__(policy, env, seed=7, **kwargs)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Random, "differs between two calls"),
        (OutOfBounds, "outside of Box"),
        (Flat, "of 4 observations must have shape"),
        (Batchwise, "another action in a batch than alone"),
        (Meddling, "changes the observations"),
        (Learning, "predict"),
        (Idle, "does not learn"),
        (Diverging, "NaN or infinite"),
        (Unseeded, "trained twice with the same seed"),
        (Constant, "ignores its seed"),
        (Forgetful, "other parameters after saving"),
        (Spent, "does not learn after it was saved"),
        (Omnivorous, "takes the action space Discrete"),
        (Careless, "ZeroDivisionError"),
        (Deaf, "took 24 steps only"),
    ],
)
def test_a_broken_agent_is_caught(broken, sentence):
    with pytest.raises(AgentCheckError) as caught:
        check_agent(broken, PointEnv, agent_kwargs=SMALL)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, HyperRLError)
    assert isinstance(caught.value, AssertionError)


def test_what_is_no_algorithm_at_all_is_named():
    with pytest.raises(AgentCheckError, match="subclass of Stable-Baselines3's BaseAlgorithm"):
        check_agent(dict)
