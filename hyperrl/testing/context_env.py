"""The conformance kit for environments with contexts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from hyperrl.errors import HyperRLError
from hyperrl.testing.context_cases import ContextCase
from hyperrl.testing.context_model import CHECKS_OF_MODELS
from hyperrl.testing.context_order import CHECKS_OF_ORDER
from hyperrl.testing.promises import require, run_checks
from hyperrl_envs.contextual.verify import contextual_layer


class ContextEnvCheckError(HyperRLError, AssertionError):
    """An environment with contexts does not keep a promise of `ContextualEnv`."""


def check_context_env(
    env: gym.Env[Any, Any],
    *,
    reference: gym.Env[Any, Any] | None = None,
    seed: int = 0,
    actions: ArrayLike | None = None,
) -> tuple[str, ...]:
    """Check that an environment keeps the promises of `hyperrl_envs.contextual.ContextualEnv`.

    Gymnasium's own checks; observations in their spaces with the context of the episode; every parameter with
    an effect, the one that it says (`hyperrl_envs.contextual.verify`); the default context as the published
    task to the last bit, after any number of others; episodes that depend on seed, context and actions only;
    the same initial noise in every context; samples that depend on the seed alone and are contexts of
    training; the order of precedence of contexts; resets that vectorised environments do by themselves; test
    contexts apart from those of training; JSON and back; contexts that are refused; states that go on bit for
    bit.

    Args:
        env: The environment, with a `ContextualEnv` among its layers. Episodes are begun.
        reference: The task without contexts, to compare the default context with.
        seed: Of episodes, actions and contexts.
        actions: What is done in episodes, over and over, shape [steps, nu]; random by default. A sparse
            reward needs some that find it.

    Returns:
        The names of the checks, all of which passed.

    Raises:
        ContextEnvCheckError: A promise is broken; the sentence names the environment, the check and what was
            wrong.
        UnsupportedEnvError: The environment has no contexts.
    """
    layer = contextual_layer(env)
    name = env.spec.id if env.spec is not None else type(layer).__name__
    own = None if actions is None else np.array(actions)
    case = ContextCase(env, layer, reference, seed, own)
    return run_checks(name, _CHECKS, case, ContextEnvCheckError)


def _gymnasium(case: ContextCase) -> None:
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        # That it is wrapped, and what Gymnasium says of its own tasks.
        warnings.simplefilter("ignore")
        try:
            check_env(case.env, skip_render_check=True)
        except AssertionError as error:
            require(False, f"Gymnasium says: {error}")


def _observations(case: ContextCase) -> None:
    layer = case.layer
    for context in case.contexts(3):
        observation, info = case.env.reset(seed=case.seed, options={"context": context})
        told = [(observation, info)]
        for action in case.actions(5):
            observation, _, terminated, truncated, info = case.env.step(action)
            told.append((observation, info))
            if terminated or truncated:
                break
        for observation, info in told:
            require(case.env.observation_space.contains(observation), "an observation is not in its space")
            require("context" in info and "context_id" in info, "info lacks context or context_id")
            require(bool(np.array_equal(info["context"], context)), "info has another context than was given")
            require(info["context_id"] == layer.context_space.text(context), "context_id is not the context")
            if layer.context_mode != "hidden":
                shown = layer.observer.code(context)
                seen = observation["context"] if layer.append == "dict" else observation[-len(shown) :]
                require(bool(np.array_equal(seen, shown)), "an observation shows another context")
        own = layer.observer.split(observation)
        require(own.dtype == np.float32, f"observations are {own.dtype}, not float32")
        require(bool(np.array_equal(layer.context, context)), "the attribute context is not the context")


_CHECKS: Mapping[str, Callable[[ContextCase], None]] = {
    "observations": _observations,
    **CHECKS_OF_MODELS,
    **CHECKS_OF_ORDER,
    "gymnasium": _gymnasium,
}
