"""`check_agent`: what every agent promises, checked on a class of yours in a few seconds."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
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


def check_agent(
    agent_class: type[BaseAlgorithm],
    env: EnvFactory | None = None,
    *,
    policy: str = "MlpPolicy",
    agent_kwargs: Mapping[str, Any] | None = None,
    steps: int = 48,
    continuous_only: bool | None = None,
) -> None:
    """Check that a class behaves as an algorithm of Stable-Baselines3 has to.

    It learns (finite parameters that move, one environment or several), predicts (right shapes, within the
    bounds, the same twice if deterministic, each row for itself, inputs left alone), repeats itself bit by
    bit with the same seed and differs with another, is the same after saving and loading, goes on learning
    then, and refuses unknown policies, spaces that it cannot act in and observations of another shape.

    Args:
        agent_class: The algorithm's class.
        env: Id of an environment, or what builds one; ``Pendulum-v1`` if None. A new one is built for each
            check.
        policy: Name of the policy to check.
        agent_kwargs: Further keyword arguments of the class. Where they leave them out, warm-up, batch,
            buffer and rollout get small sizes.
        steps: Environment steps of each training; the agent must have updated itself by then.
        continuous_only: Whether discrete actions must be refused; None expects it of off-policy algorithms
            that were given an environment with continuous actions.

    Raises:
        AgentCheckError: On the first promise that is broken.

    Example:
        >>> from hyperrl import HyperTD3
        >>> from hyperrl.testing import check_agent
        >>> check_agent(HyperTD3)
    """
    _require(
        isinstance(agent_class, type) and issubclass(agent_class, BaseAlgorithm),
        f"an agent must be a subclass of Stable-Baselines3's BaseAlgorithm, got {agent_class!r}",
    )
    subject = _Subject(agent_class, env or "Pendulum-v1", policy, dict(agent_kwargs or {}), steps)
    model = _check_learning(subject)
    _check_prediction(subject, model)
    _check_repeatability(subject, model)
    _check_saving(subject, model)
    _check_several_environments(subject)
    if continuous_only is None:
        continuous_only = issubclass(agent_class, OffPolicyAlgorithm) and isinstance(
            model.action_space, spaces.Box
        )
    _check_refusals(subject, model, continuous_only)


@dataclass(frozen=True)
class _Subject:
    agent_class: type[BaseAlgorithm]
    env: EnvFactory
    policy: str
    agent_kwargs: Mapping[str, Any]
    steps: int
    sizes: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        sizes: Mapping[str, Any] = {}
        if issubclass(self.agent_class, OffPolicyAlgorithm):
            sizes = _OFF_POLICY
        elif issubclass(self.agent_class, OnPolicyAlgorithm):
            sizes = _ON_POLICY
        object.__setattr__(self, "sizes", sizes)

    @property
    def name(self) -> str:
        return self.agent_class.__name__

    def build(
        self, seed: int = 0, n_envs: int = 1, env: Any = None, policy: str | None = None
    ) -> BaseAlgorithm:
        venv = env if env is not None else make_vec_env(self.env, n_envs=n_envs, seed=seed)
        # Algorithms write into what they are given, SAC into its `policy_kwargs` for one.
        given = copy.deepcopy(dict(self.agent_kwargs))
        arguments: dict[str, Any] = {"seed": seed, "device": "cpu", **self.sizes, **given}
        return self.agent_class(policy or self.policy, venv, **arguments)

    def trained(self, seed: int = 0, n_envs: int = 1) -> BaseAlgorithm:
        return self.build(seed, n_envs).learn(self.steps)


def _require(kept: bool, sentence: str) -> None:
    if not kept:
        raise AgentCheckError(sentence)


def _parameters(model: BaseAlgorithm) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def _observations(model: BaseAlgorithm, n: int) -> Any:
    """Return a batch of ``n`` observations, drawn by a fixed seed."""
    space = model.observation_space
    space.seed(0)
    rows = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([row[key] for row in rows]) for key in space.spaces}
    return np.stack(rows)


def _row(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]


def _check_learning(subject: _Subject) -> BaseAlgorithm:
    model = subject.build()
    before = _parameters(model)
    returned = model.learn(subject.steps)
    _require(returned is model, f"{subject.name}.learn must return the agent itself, got {returned!r}")
    _require(
        model.num_timesteps >= subject.steps,
        f"{subject.name}.learn({subject.steps}) took {model.num_timesteps} steps only",
    )
    after = _parameters(model)
    _require(bool(torch.isfinite(after).all()), f"{subject.name} has parameters that are NaN or infinite")
    _require(
        not torch.equal(before, after),
        f"{subject.name} has the same parameters after {subject.steps} steps as before: it does not learn",
    )
    return model


def _check_prediction(subject: _Subject, model: BaseAlgorithm) -> None:
    name, space = subject.name, model.action_space
    observations, before = _observations(model, 4), _parameters(model)
    copied = _observations(model, 4)
    for deterministic in (True, False):
        single, _ = model.predict(_row(observations, 0), deterministic=deterministic)
        _require(
            np.shape(single) == space.shape,
            f"{name}.predict of one observation must have shape {space.shape}, got {np.shape(single)}",
        )
        batch, _ = model.predict(observations, deterministic=deterministic)
        shape = (4, *(space.shape or ()))
        _require(
            np.shape(batch) == shape,
            f"{name}.predict of 4 observations must have shape {shape}, got {np.shape(batch)}",
        )
        _require(
            all(space.contains(np.asarray(action, space.dtype)) for action in batch),
            f"{name}.predict gave actions outside of {space}",
        )
    unchanged = [np.array_equal(a, b) for a, b in zip(_leaves(observations), _leaves(copied), strict=True)]
    _require(all(unchanged), f"{name}.predict changes the observations that it is given")
    first, _ = model.predict(observations, deterministic=True)
    second, _ = model.predict(observations, deterministic=True)
    _require(np.array_equal(first, second), f"{name}.predict(deterministic=True) differs between two calls")
    alone, _ = model.predict(_row(observations, 1), deterministic=True)
    _require(
        np.allclose(first[1], alone, rtol=1e-4, atol=1e-4),
        f"{name}.predict gives an observation another action in a batch than alone",
    )
    _require(torch.equal(before, _parameters(model)), f"{name}.predict changes the agent's parameters")


def _leaves(observations: Any) -> list[Any]:
    return list(observations.values()) if isinstance(observations, dict) else [observations]


def _check_repeatability(subject: _Subject, model: BaseAlgorithm) -> None:
    again, other = subject.trained(), subject.trained(seed=1)
    _require(
        torch.equal(_parameters(model), _parameters(again)),
        f"{subject.name} learns other parameters when it is trained twice with the same seed",
    )
    _require(
        not torch.equal(_parameters(model), _parameters(other)),
        f"{subject.name} learns the same parameters with another seed: it ignores its seed",
    )


def _check_saving(subject: _Subject, model: BaseAlgorithm) -> None:
    name, before = subject.name, _parameters(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "agent")
        loaded = subject.agent_class.load(
            Path(folder) / "agent", env=make_vec_env(subject.env, n_envs=1, seed=0), device="cpu"
        )
    _require(torch.equal(before, _parameters(model)), f"{name}.save changes the agent's parameters")
    _require(
        torch.equal(before, _parameters(loaded)), f"{name} has other parameters after saving and loading"
    )
    observations = _observations(model, 4)
    expected, _ = model.predict(observations, deterministic=True)
    found, _ = loaded.predict(observations, deterministic=True)
    _require(np.array_equal(expected, found), f"{name} acts otherwise after saving and loading")
    loaded.learn(subject.steps)
    _require(
        not torch.equal(before, _parameters(loaded)), f"{name} does not learn after it was saved and loaded"
    )


def _check_several_environments(subject: _Subject) -> None:
    model = subject.trained(n_envs=2)
    _require(
        bool(torch.isfinite(_parameters(model)).all()) and model.num_timesteps >= subject.steps,
        f"{subject.name} does not learn in two environments at once",
    )


class _OtherSpaces(gym.Env[Any, Any]):
    """An environment with an action space that the agent should not take."""

    def __init__(self, action_space: spaces.Space[Any], observation_space: spaces.Space[Any]) -> None:
        self.action_space = action_space
        self.observation_space = observation_space


def _check_refusals(subject: _Subject, model: BaseAlgorithm, continuous_only: bool) -> None:
    name = subject.name
    _refuses(
        lambda: subject.build(policy="NoSuchPolicy"),
        (ValueError, KeyError),
        f"{name} takes an unknown policy",
    )
    refused: list[spaces.Space[Any]] = [spaces.Text(3), spaces.Box(-np.inf, np.inf, (2,), np.float32)]
    if continuous_only:
        refused.append(spaces.Discrete(3))
    for space in refused:
        other = _OtherSpaces(space, model.observation_space)
        _refuses(
            partial(subject.build, env=other),
            (ValueError, AssertionError),
            f"{name} takes the action space {space}",
        )
    _refuses(
        lambda: model.predict(_misshapen(model)),
        (ValueError, AssertionError),
        f"{name}.predict takes observations of a shape that its environment never gives",
    )


def _misshapen(model: BaseAlgorithm) -> Any:
    wrong = np.zeros((4, 1009, 7), np.float32)
    space = model.observation_space
    return dict.fromkeys(space.spaces, wrong) if isinstance(space, spaces.Dict) else wrong


def _refuses(action: Callable[[], object], errors: tuple[type[Exception], ...], sentence: str) -> None:
    try:
        action()
    except errors:
        return
    except Exception as error:
        raise AgentCheckError(
            f"{sentence}, or fails far from the cause with {type(error).__name__}: {error}"
        ) from error
    raise AgentCheckError(sentence)
