"""Systems without a simulator, stepped together: one call of their formulas for all of them."""

from __future__ import annotations

from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from hyperrl_envs.contextual.dynamics.system import Array, System
from hyperrl_envs.contextual.native.contexts import ChosenContexts, PresentContexts
from hyperrl_envs.contextual.suites.suite import Plan
from hyperrl_envs.native.env import CallOrderError
from hyperrl_envs.native.episodes import Episodes, Step
from hyperrl_envs.native.task import Outcome


class SystemNativeEnv(ChosenContexts, gym.Env[Array, NDArray[np.float32]]):
    """One of several systems, with contexts of its own; it cannot be stepped by itself.

    Args:
        owner: The systems that it is one of.
        index: Its number among them.

    Attributes:
        index: As given.
    """

    _owner: SystemSimulations

    def __init__(self, owner: SystemSimulations, index: int) -> None:
        self.index = index
        self.spec = owner.spec
        self.metadata = owner.system.metadata
        self.action_space, self.observation_space = owner.system.action_space, owner.observation_space
        self._owner = owner
        self._plan_contexts(owner.plan)

    @property
    def state(self) -> Array:
        """The system's state, a copy of shape [state size]."""
        state: Array = self._owner.states[self.index].copy()
        return state

    @property
    def parameters(self) -> dict[str, float]:
        """What the formulas use now, by name."""
        return {name: float(values[self.index]) for name, values in self._owner.parameters.items()}

    def seed(self, seed: int) -> None:
        """Let the environment draw from a new generator, and contexts from another one."""
        self._np_random, self._np_random_seed = seeding.np_random(seed)
        self._source.seed(seed)

    def step(self, action: NDArray[np.float32]) -> NoReturn:
        """Refuse to step one environment alone.

        Raises:
            CallOrderError: Always.
        """
        raise CallOrderError("environments that are stepped together cannot be stepped one by one")

    def begin(self) -> None:
        """Put the system at the start of a new episode in its context."""
        self.apply(self._choose())
        self._owner.states[self.index] = self._owner.system.first_state(self.np_random)

    def apply(self, context: NDArray[np.float64]) -> None:
        """Let a context take effect.

        Args:
            context: Values in the space, shape [d].
        """
        self._context = context
        self._owner.note(self.index, context)

    def render(self) -> None:
        """Return None: there are no pictures."""
        return None

    def snapshot_state(self) -> dict[str, Any]:
        """Return what is remembered from step to step beside the generator's state."""
        return {
            "episode": self._owner.episode(self.index),
            "np_random_seed": self._np_random_seed,
            "state": self.state,
            "contexts": self._contexts_state(),
        }

    def restore_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Go back to what `snapshot_state` returned."""
        self.apply(np.array(snapshot["contexts"]["context"]))
        self._source.restore(snapshot["contexts"]["source"])
        self._owner.states[self.index] = snapshot["state"]
        self._owner.set_episode(self.index, snapshot["episode"])
        self._np_random_seed = snapshot["np_random_seed"]


class SystemSimulations(Episodes):
    """Several systems of one kind, each in a context of its own.

    Args:
        plan: The contexts and how they are shown.
        system: One system, whose formulas and spaces all of them have.
        count: How many.
        spec: The `gymnasium.envs.registration.EnvSpec` that the environments show.
        max_episode_steps: Steps after which an episode is truncated, None for no limit.

    Attributes:
        plan: As given.
        system: As given.
        spec: As given.
        states: Shape [n, state size].
        parameters: What the formulas use now, by name, shape [n] each.
        contexts: Which context each of them is in.
        envs: The environments one by one, each a `SystemNativeEnv`.
    """

    def __init__(
        self, plan: Plan, system: System, count: int, *, spec: Any, max_episode_steps: int | None
    ) -> None:
        super().__init__(count, system.action_space, max_episode_steps)
        self.plan, self.system, self.spec = plan, system, spec
        self.observation_space = system.observation_space
        self.states = np.zeros((count, len(system.state)))
        self.parameters = {name: np.full(count, value) for name, value in system.nominal.items()}
        # In the order of a context.
        self._chosen = [self.parameters[name] for name in plan.space.names]
        self.contexts = PresentContexts(plan, self.observation_space, count)
        self.envs: list[SystemNativeEnv] = [SystemNativeEnv(self, index) for index in range(count)]
        for env in self.envs:
            env.apply(plan.space.default)

    def note(self, index: int, context: NDArray[np.float64]) -> None:
        """Let a system have the parameters of a context.

        Args:
            index: Its number.
            context: Shape [d].
        """
        for values, value in zip(self._chosen, context.tolist(), strict=True):
            values[index] = value
        self.contexts.note(index, context)

    def step(self, actions: NDArray[Any]) -> Step:
        """Step all systems once, see `Episodes.step`."""
        self.contexts.keep()
        return super().step(actions)

    def _advance(self, actions: NDArray[Any]) -> tuple[Array, Outcome]:
        clipped = np.clip(actions.astype(np.float64), -1, 1)
        advance = self.system.advance(self.states, clipped, self.parameters)
        self.states = advance.states
        return advance.states.copy(), Outcome(advance.rewards, advance.terminated, {})

    def _begin(self, index: int, seed: int | None) -> tuple[Array, dict[str, Any]]:
        env = self.envs[index]
        if seed is not None:
            env.seed(seed)
        env.begin()
        self.set_episode(index, (True, 0, 0.0))
        return env.state, self.contexts.info(index)
