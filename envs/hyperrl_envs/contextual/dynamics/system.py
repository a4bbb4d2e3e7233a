"""An environment whose dynamics are formulas with parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Advance(NamedTuple):
    """What one step of n systems leads to.

    Attributes:
        states: Shape [n, state size].
        rewards: Shape [n].
        terminated: Shape [n].
    """

    states: Array
    rewards: Array
    terminated: NDArray[np.bool_]


class System(gym.Env[Array, NDArray[np.float32]], ABC):
    """An environment of one system, which observes its state.

    Attributes:
        parameters: What the formulas use now, by name; a context writes into it between episodes.
        state: Shape [state size], float64.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012
    nominal: ClassVar[Mapping[str, float]]
    """The parameters as they were published."""
    start: ClassVar[float]
    """Each number of a first state is drawn uniformly from minus this to this."""

    def __init__(self, state_size: int, action_size: int) -> None:
        self.action_space = spaces.Box(-1, 1, (action_size,), np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (state_size,), np.float64)
        self.parameters = dict(self.nominal)
        self.state: Array = np.zeros(state_size)

    @classmethod
    @abstractmethod
    def advance(cls, states: Array, actions: Array, parameters: Mapping[str, Any]) -> Advance:
        """Return what a step of n systems leads to.

        Args:
            states: Shape [n, state size].
            actions: Shape [n, action size], in [-1, 1].
            parameters: Numbers by name, or one for each system, shape [n].
        """

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode, see `gymnasium.Env.reset`; options have no effect."""
        super().reset(seed=seed)
        self.state = self.first_state(self.np_random)
        return self.state.copy(), {}

    def first_state(self, generator: np.random.Generator) -> Array:
        """Draw the state that an episode begins with.

        Args:
            generator: The environment's own.

        Returns:
            Shape [state size].
        """
        return generator.uniform(-self.start, self.start, self.state.shape)

    def step(self, action: NDArray[np.float32]) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Advance one step, see `gymnasium.Env.step`; actions beyond [-1, 1] are clipped."""
        actions = np.clip(np.asarray(action, np.float64), -1, 1)[None]
        states, rewards, terminated = self.advance(self.state[None], actions, self.parameters)
        self.state = states[0]
        return self.state.copy(), float(rewards[0]), bool(terminated[0]), False, {}
