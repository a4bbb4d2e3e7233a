"""Environments whose episodes each have a context."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import ArrayLike, NDArray

from hyperrl.context import ContextSpace, Splits, make_splits
from hyperrl.errors import ContextError
from hyperrl_envs.contextual.observing import ContextObserver
from hyperrl_envs.contextual.source import ContextSource


class ContextualEnv(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An environment with a context in each episode; subclasses say how it takes effect.

    The context of an episode is, in this order: `options["context"]` of `reset`; what `set_next_context` was
    given, once; the fixed context; a sample of the contexts of training. Samples are drawn with the seed of
    `reset` from a generator of their own: with one seed all contexts have the same initial noise. `info` has
    "context", the raw values in the order of the space, and "context_id", them as text, after every reset and
    step.

    Args:
        env: The environment.
        space: The contexts.
        splits: Those of training and of tests; by default the space's whole box of training.
        mode: "visible", "hidden" or "privileged": see `observing.MODES`.
        append: "dict" or "flat".
        units: "normalised" or "raw".
        sampler: "random", "round_robin" or "default": see `source.SAMPLERS`.
        fixed: The context of all episodes, by name (what is missing is default) or as an array.

    Attributes:
        context_space: The contexts.
        splits: Those of training and of tests.
        context_mode: As given.
        append: As given.
        units: As given.
        observer: Joins observations and contexts.

    Raises:
        ContextError: The splits are of another space.
        HyperRLError: A word is unknown, or the fixed context is not in the space.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        space: ContextSpace,
        splits: Splits | None = None,
        *,
        mode: str = "visible",
        append: str = "dict",
        units: str = "normalised",
        sampler: str = "random",
        fixed: Mapping[str, float] | ArrayLike | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            space=space,
            splits=splits,
            mode=mode,
            append=append,
            units=units,
            sampler=sampler,
            fixed=fixed,
        )
        gym.Wrapper.__init__(self, env)
        if splits is not None and splits.space != space:
            raise ContextError(
                f"the splits are of the contexts {', '.join(splits.space.names)} with their ranges, and the "
                f"environment's are {', '.join(space.names)}: they must be the same"
            )
        self.context_space = space
        self.splits = make_splits(space) if splits is None else splits
        self.context_mode, self.append, self.units = mode, append, units
        self.observer = ContextObserver(space, env.observation_space, mode, append, units)
        self.observation_space = self.observer.space
        self._source = ContextSource(self.splits, sampler, fixed)
        # A factory's environment gets a spec only afterwards, and that one says everything.
        self._is_registered = env.unwrapped.spec is None
        self._note(space.default)

    @property
    def context(self) -> NDArray[np.float64]:
        """The context of this episode, raw, shape [d]; the default one before the first."""
        return self._context.copy()

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # Gymnasium's wrapper has a property too.
        """What `gymnasium.make` needs to build the environment again."""
        return self.env.spec if self._is_registered else super().spec

    @property
    def default_is_published(self) -> bool:
        """Whether the default context is the task that this one is made from, to the last bit."""
        return True

    def set_next_context(self, context: Mapping[str, float] | ArrayLike) -> None:
        """Set the context of the next episode that is begun without one in `options`, once.

        It is kept here, so it survives the resets that vectorised environments do by themselves.

        Args:
            context: As `ContextSpace.array` takes it.

        Raises:
            HyperRLError: It is not in the space.
        """
        self._source.set_next(context)

    def set_fixed_context(self, context: Mapping[str, float] | ArrayLike | None) -> None:
        """Set the context of all episodes from the next on, or go back to samples with None.

        Raises:
            HyperRLError: It is not in the space.
        """
        self._source.set_fixed(context)

    def set_sampler(self, name: str, rank: int = 0, count: int = 1) -> None:
        """Choose how contexts are sampled, see `ContextSource.set_sampler`."""
        self._source.set_sampler(name, rank, count)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seeds the environment and, apart from it, the samples of contexts.
            options: `context`: that of this episode, by name or as an array. The others are the task's own.

        Raises:
            HyperRLError: The context is not in the space; nothing has changed then.
        """
        given = None
        if options is not None and "context" in options:
            options = dict(options)
            context = options.pop("context")
            given = None if context is None else self.context_space.array(context)
        if seed is not None:
            self._source.seed(seed)
        chosen = self._source.choose(given)
        self._apply(chosen)
        self._note(chosen)
        observation, info = self.env.reset(seed=seed, options=options)
        return self.observer.join(observation, self._code), self._told(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment, see `gymnasium.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = self._judge(reward, info, action)
        joined = self.observer.join(observation, self._code)
        return joined, reward, terminated, truncated, self._told(info)

    def snapshot_state(self) -> dict[str, Any]:
        """Return what is remembered beside the environment itself: the context and where the next is from."""
        return {"context": self._context.copy(), "source": self._source.state()}

    def restore_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Go back to what `snapshot_state` of this environment, or of one built alike, returned."""
        context = np.array(snapshot["context"])
        self._apply(context)
        self._note(context)
        self._source.restore(snapshot["source"])

    @abstractmethod
    def _apply(self, context: NDArray[np.float64]) -> None:
        """Let a context take effect in the next episode, whatever was before.

        Args:
            context: Values in the space, shape [d].
        """

    def _judge(self, reward: SupportsFloat, info: dict[str, Any], action: Any) -> SupportsFloat:
        """Return the reward of a step in this context; that of the task by default."""
        return reward

    def _note(self, context: NDArray[np.float64]) -> None:
        self._context = context
        self._code = self.observer.code(context)
        self._context_id = self.context_space.label(context)

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        info["context"] = self._context.copy()
        info["context_id"] = self._context_id
        return info
