"""`check_agent`: what every agent promises, checked on a class of yours in a few seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
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

from hyperrl.testing.agent_health import check_finite_predict, check_health, is_registered
from hyperrl.testing.agent_resume import check_resume
from hyperrl.testing.agent_subject import (
    AgentCheckError,
    EnvFactory,
    Subject,
    draw_observations,
    parameters_of,
    refuses,
    require,
)

__all__ = ["AgentCheckError", "check_agent"]


def check_agent(
    agent_class: type[BaseAlgorithm],
    env: EnvFactory | None = None,
    *,
    policy: str = "MlpPolicy",
    agent_kwargs: Mapping[str, Any] | None = None,
    steps: int = 48,
    continuous_only: bool | None = None,
    exact_resume: bool = True,
    finite_predict: bool | None = None,
) -> None:
    """Check that a class behaves as an algorithm of Stable-Baselines3 has to.

    It learns (finite parameters that move, one environment or several), predicts (right shapes, within the
    bounds, the same twice if deterministic, each row for itself, inputs left alone), repeats itself bit by
    bit with the same seed and differs with another, is the same after saving and loading, goes on learning
    then, and refuses unknown policies, spaces that it cannot act in and observations of another shape.

    A run that is stopped in the middle of an episode and continued from its checkpoint by another agent ends
    bit for bit as the run that was not (`hyperrl.run.state`). A NaN from the environment stops learning
    within one update (`hyperrl.run.health`), and `predict` refuses observations that are NaN or infinite
    (`hyperrl.sb3.finite`). An agent whose class says `learns_offline = True` learns from data alone: what its
    environment gives cannot spoil it, and is not spoilt. One whose class says `learns_tasks = True` learns
    what many tasks have in common: it needs an environment with contexts (`hyperrl list contexts`).

    Args:
        agent_class: The algorithm's class.
        env: Id of an environment, or what builds one; if None ``Pendulum-v1``, for agents of many tasks
            ``hyperrl/ContextualCartPole-v0`` with flat observations, the context last. A new one is built for
            each check.
        policy: Name of the policy to check.
        agent_kwargs: Further keyword arguments of the class. Where they leave them out, warm-up, batch,
            buffer and rollout get small sizes.
        steps: Environment steps of each training; the agent must have updated itself by then.
        continuous_only: Whether discrete actions must be refused; None expects it of off-policy algorithms
            that were given an environment with continuous actions.
        exact_resume: Whether runs must continue bit for bit; False for an environment whose state cannot be
            captured (`hyperrl_envs.saved_state`).
        finite_predict: Whether `predict` must refuse observations that are not finite; None expects it of
            classes that are registered as agents, since Stable-Baselines3's own act on them.

    Raises:
        AgentCheckError: On the first promise that is broken.

    Example:
        >>> from hyperrl import HyperTD3
        >>> from hyperrl.testing import check_agent
        >>> check_agent(HyperTD3)
    """
    require(
        isinstance(agent_class, type) and issubclass(agent_class, BaseAlgorithm),
        f"an agent must be a subclass of Stable-Baselines3's BaseAlgorithm, got {agent_class!r}",
    )
    chosen = env or (_tasks if getattr(agent_class, "learns_tasks", False) else "Pendulum-v1")
    subject = Subject(agent_class, chosen, policy, dict(agent_kwargs or {}), steps)
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
    if is_registered(agent_class) if finite_predict is None else finite_predict:
        check_finite_predict(subject, model)
    if not getattr(agent_class, "learns_offline", False):
        check_health(subject)
    if exact_resume:
        check_resume(subject, model)


def _tasks() -> gym.Env[Any, Any]:
    return gym.make("hyperrl_envs:hyperrl/ContextualCartPole-v0", append="flat")


def _row(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]


def _check_learning(subject: Subject) -> BaseAlgorithm:
    model = subject.build()
    before = parameters_of(model)
    returned = model.learn(subject.steps)
    require(returned is model, f"{subject.name}.learn must return the agent itself, got {returned!r}")
    require(
        model.num_timesteps >= subject.steps,
        f"{subject.name}.learn({subject.steps}) took {model.num_timesteps} steps only",
    )
    after = parameters_of(model)
    require(bool(torch.isfinite(after).all()), f"{subject.name} has parameters that are NaN or infinite")
    require(
        not torch.equal(before, after),
        f"{subject.name} has the same parameters after {subject.steps} steps as before: it does not learn",
    )
    return model


def _check_prediction(subject: Subject, model: BaseAlgorithm) -> None:
    name, space = subject.name, model.action_space
    observations, before = draw_observations(model, 4), parameters_of(model)
    copied = draw_observations(model, 4)
    for deterministic in (True, False):
        single, _ = model.predict(_row(observations, 0), deterministic=deterministic)
        require(
            np.shape(single) == space.shape,
            f"{name}.predict of one observation must have shape {space.shape}, got {np.shape(single)}",
        )
        batch, _ = model.predict(observations, deterministic=deterministic)
        shape = (4, *(space.shape or ()))
        require(
            np.shape(batch) == shape,
            f"{name}.predict of 4 observations must have shape {shape}, got {np.shape(batch)}",
        )
        require(
            all(space.contains(np.asarray(action, space.dtype)) for action in batch),
            f"{name}.predict gave actions outside of {space}",
        )
    unchanged = [np.array_equal(a, b) for a, b in zip(_leaves(observations), _leaves(copied), strict=True)]
    require(all(unchanged), f"{name}.predict changes the observations that it is given")
    first, _ = model.predict(observations, deterministic=True)
    second, _ = model.predict(observations, deterministic=True)
    require(np.array_equal(first, second), f"{name}.predict(deterministic=True) differs between two calls")
    alone, _ = model.predict(_row(observations, 1), deterministic=True)
    require(
        np.allclose(first[1], alone, rtol=1e-4, atol=1e-4),
        f"{name}.predict gives an observation another action in a batch than alone",
    )
    require(torch.equal(before, parameters_of(model)), f"{name}.predict changes the agent's parameters")


def _leaves(observations: Any) -> list[Any]:
    return list(observations.values()) if isinstance(observations, dict) else [observations]


def _check_repeatability(subject: Subject, model: BaseAlgorithm) -> None:
    again, other = subject.trained(), subject.trained(seed=1)
    require(
        torch.equal(parameters_of(model), parameters_of(again)),
        f"{subject.name} learns other parameters when it is trained twice with the same seed",
    )
    require(
        not torch.equal(parameters_of(model), parameters_of(other)),
        f"{subject.name} learns the same parameters with another seed: it ignores its seed",
    )


def _check_saving(subject: Subject, model: BaseAlgorithm) -> None:
    name, before = subject.name, parameters_of(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "agent")
        loaded = subject.agent_class.load(
            Path(folder) / "agent", env=make_vec_env(subject.env, n_envs=1, seed=0), device="cpu"
        )
    require(torch.equal(before, parameters_of(model)), f"{name}.save changes the agent's parameters")
    require(
        torch.equal(before, parameters_of(loaded)), f"{name} has other parameters after saving and loading"
    )
    observations = draw_observations(model, 4)
    expected, _ = model.predict(observations, deterministic=True)
    found, _ = loaded.predict(observations, deterministic=True)
    require(np.array_equal(expected, found), f"{name} acts otherwise after saving and loading")
    loaded.learn(subject.steps)
    require(
        not torch.equal(before, parameters_of(loaded)), f"{name} does not learn after it was saved and loaded"
    )


def _check_several_environments(subject: Subject) -> None:
    model = subject.trained(n_envs=2)
    require(
        bool(torch.isfinite(parameters_of(model)).all()) and model.num_timesteps >= subject.steps,
        f"{subject.name} does not learn in two environments at once",
    )


class _OtherSpaces(gym.Env[Any, Any]):
    """An environment with an action space that the agent should not take."""

    def __init__(self, action_space: spaces.Space[Any], observation_space: spaces.Space[Any]) -> None:
        self.action_space = action_space
        self.observation_space = observation_space


def _check_refusals(subject: Subject, model: BaseAlgorithm, continuous_only: bool) -> None:
    name = subject.name
    refuses(
        lambda: subject.build(policy="NoSuchPolicy"),
        (ValueError, KeyError),
        f"{name} takes an unknown policy",
    )
    refused: list[spaces.Space[Any]] = [spaces.Text(3), spaces.Box(-np.inf, np.inf, (2,), np.float32)]
    if continuous_only:
        refused.append(spaces.Discrete(3))
    for space in refused:
        other = _OtherSpaces(space, model.observation_space)
        refuses(
            partial(subject.build, env=other),
            (ValueError, AssertionError),
            f"{name} takes the action space {space}",
        )
    refuses(
        lambda: model.predict(_misshapen(model)),
        (ValueError, AssertionError),
        f"{name}.predict takes observations of a shape that its environment never gives",
    )


def _misshapen(model: BaseAlgorithm) -> Any:
    wrong = np.zeros((4, 1009, 7), np.float32)
    space = model.observation_space
    return dict.fromkeys(space.spaces, wrong) if isinstance(space, spaces.Dict) else wrong
