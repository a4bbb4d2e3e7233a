"""An agent with a context as one without: its environment, and itself, for the observation alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ContextError
from hyperrl.sb3.contexts.observed import KEY, Context, Observed


class InOneContext(gym.ObservationWrapper[Any, Any, Any]):
    """An environment that always has the same context and does not show it.

    Args:
        env: The environment, as the agent was trained in it.
        observed: What the agent knows of contexts.
        context: The context in the units of its parameters, ``[d]``; None leaves it to the environment.

    Raises:
        ContextError: The environment's contexts mean something else, or cannot be chosen.
    """

    def __init__(self, env: gym.Env[Any, Any], observed: Observed, context: NDArray[Any] | None) -> None:
        super().__init__(env)
        observed.check_same(Observed.of_env(env))
        given = env.observation_space
        self._keys = _state_keys(given) if isinstance(given, spaces.Dict) else None
        if self._keys is not None:
            assert isinstance(given, spaces.Dict)
            self.observation_space = given.spaces[self._keys[0]]
        elif observed.size and isinstance(given, spaces.Box):
            size = observed.size
            self.observation_space = spaces.Box(given.low[:-size], given.high[:-size], dtype=given.dtype.type)
        if context is not None:
            if not env.has_wrapper_attr("set_fixed_context"):
                raise ContextError(
                    "the environment's context cannot be chosen: it has no set_fixed_context as those of "
                    "hyperrl_envs.contextual"
                )
            env.get_wrapper_attr("set_fixed_context")(context)

    def observation(self, observation: Any) -> NDArray[Any]:
        """Return the observation without the context.

        Args:
            observation: What the environment gave.
        """
        if self._keys is not None:
            return np.asarray(observation[self._keys[0]])
        return np.asarray(observation)[: self.observation_space.shape[0]]  # type: ignore[index]


def completed(observed: Observed, space: spaces.Space[Any]) -> Callable[[Any, Context | None], Any]:
    """Return what puts a context to observations without one, as an agent was trained with.

    Args:
        observed: What the agent knows of contexts.
        space: Its observation space.

    Returns:
        A function from observations ``[N, S]`` and a context (the default one where it is None) to a batch of
        observations of that space.
    """
    keys = _state_keys(space) if isinstance(space, spaces.Dict) else None

    def complete(states: ArrayLike, context: Context | None) -> Any:
        states = np.asarray(states, np.float32)
        rows = np.tile(_vector(observed, context), (len(states), 1))
        if keys is None:
            return np.concatenate([states, rows], axis=1)
        return {keys[0]: states, KEY: rows} if observed.size else {keys[0]: states}

    return complete


def chosen_context(model: Any, given: str | Context | None) -> NDArray[Any] | None:
    """Return the context that was asked for, raw and checked, or None.

    Args:
        model: An agent.
        given: A text such as "mass=1.2,friction=0.8", values by name or in their order; None for none.

    Raises:
        ContextError: The agent does not act by a context.
        HyperRLError: The context is wrong, see `hyperrl.context.ContextSpace.array`.
    """
    if given is None:
        return None
    observed = getattr(model, "observed", None)
    if not isinstance(observed, Observed) or (observed.space is None and not observed.size):
        raise ContextError(f"{type(model).__name__} does not act by a context: leave the context out")
    if observed.space is None:
        if isinstance(given, str):
            raise ContextError("the environment does not name its context: it cannot be given as text")
        return observed.vector(given)
    return observed.space.parse(given) if isinstance(given, str) else observed.space.array(given)


def _vector(observed: Observed, context: Context | None) -> NDArray[np.float32]:
    if context is None:
        if observed.space is None or not observed.size:
            return np.zeros(observed.size, np.float32)
        context = observed.space.default
    return observed.vector(context)[: observed.size]


def _state_keys(space: spaces.Dict) -> list[str]:
    return [key for key in space.spaces if key != KEY]
