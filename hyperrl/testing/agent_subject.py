"""What the parts of `check_agent` share: the class that is checked, and how a broken promise is told."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from hyperrl.errors import HyperRLError

EnvFactory = str | Callable[[], gym.Env[Any, Any]]
_OFF_POLICY = {"learning_starts": 16, "batch_size": 8, "buffer_size": 1000}
_ON_POLICY = {"n_steps": 16}


class AgentCheckError(HyperRLError, AssertionError):
    """An agent breaks one of the promises that `check_agent` checks; the sentence says which."""


@dataclass(frozen=True)
class Subject:
    """What is checked, built anew for each check.

    Attributes:
        agent_class: The algorithm's class.
        env: Id of an environment, or what builds one.
        policy: Name of the policy.
        agent_kwargs: Further keyword arguments of the class.
        steps: Environment steps of each training.
    """

    agent_class: type[BaseAlgorithm]
    env: EnvFactory
    policy: str
    agent_kwargs: Mapping[str, Any]
    steps: int
    sizes: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Choose the sizes that a short training needs."""
        sizes: Mapping[str, Any] = {}
        if issubclass(self.agent_class, OffPolicyAlgorithm):
            sizes = _OFF_POLICY
        elif issubclass(self.agent_class, OnPolicyAlgorithm):
            sizes = _ON_POLICY
        object.__setattr__(self, "sizes", sizes)

    @property
    def name(self) -> str:
        """The class's name, for messages."""
        return self.agent_class.__name__

    def build(
        self, seed: int = 0, n_envs: int = 1, env: Any = None, policy: str | None = None
    ) -> BaseAlgorithm:
        """Build an agent that has not learned yet.

        Args:
            seed: Seed of the agent and of its environments.
            n_envs: Number of environments.
            env: Another environment than the subject's, or several of them in one.
            policy: Name of another policy.
        """
        venv = env if env is not None else make_vec_env(self.env, n_envs=n_envs, seed=seed)
        # Algorithms write into what they are given, SAC into its `policy_kwargs` for one.
        given = copy.deepcopy(dict(self.agent_kwargs))
        arguments: dict[str, Any] = {"seed": seed, "device": "cpu", **self.sizes, **given}
        return self.agent_class(policy or self.policy, venv, **arguments)

    def build_env(self) -> gym.Env[Any, Any]:
        """Build one environment without the wrappers of Stable-Baselines3."""
        return gym.make(self.env) if isinstance(self.env, str) else self.env()

    def trained(self, seed: int = 0, n_envs: int = 1) -> BaseAlgorithm:
        """Build an agent and let it learn.

        Args:
            seed: Seed of the agent and of its environments.
            n_envs: Number of environments.
        """
        return self.build(seed, n_envs).learn(self.steps)


def require(kept: bool, sentence: str) -> None:
    """Raise AgentCheckError with a sentence, unless a promise was kept.

    Args:
        kept: Whether it was.
        sentence: What is wrong otherwise.
    """
    if not kept:
        raise AgentCheckError(sentence)


def refuses(action: Callable[[], object], errors: tuple[type[Exception], ...], sentence: str) -> None:
    """Raise AgentCheckError, unless something fails, and fails as it should.

    Args:
        action: What should fail.
        errors: The exceptions that are right.
        sentence: What is wrong if it does not fail.
    """
    try:
        action()
    except errors:
        return
    except Exception as error:
        raise AgentCheckError(
            f"{sentence}, or fails far from the cause with {type(error).__name__}: {error}"
        ) from error
    raise AgentCheckError(sentence)


def parameters_of(model: BaseAlgorithm) -> torch.Tensor:
    """Return a copy of a policy's parameters in one vector.

    Args:
        model: The agent.
    """
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def draw_observations(model: BaseAlgorithm, n: int) -> Any:
    """Return a batch of observations, drawn by a fixed seed.

    Args:
        model: The agent that will see them.
        n: How many.
    """
    space = model.observation_space
    space.seed(0)
    rows = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([row[key] for row in rows]) for key in space.spaces}
    return np.stack(rows)
