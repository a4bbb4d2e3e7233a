"""Contexts of environments that are stepped together, whatever simulates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from hyperrl_envs.contextual.observing import ContextObserver
from hyperrl_envs.contextual.source import ContextSource

if TYPE_CHECKING:
    from hyperrl_envs.contextual.suites.suite import Plan


class PresentContexts:
    """Which context each of several environments is in, and how observations and infos show it.

    Args:
        plan: The contexts and how they are shown.
        observation_space: Of one environment, without its context.
        count: How many environments.

    Attributes:
        observer: Joins observations and contexts.
        codes: The present contexts as observations show them, float32 of shape [n, c].
        told: What infos say of the present contexts, one dictionary for each environment.
        told_before: The same of the contexts that the last step was taken in.
    """

    def __init__(self, plan: Plan, observation_space: spaces.Space[Any], count: int) -> None:
        shown = (plan.settings[name] for name in ("mode", "append", "units"))
        self.observer = ContextObserver(plan.space, observation_space, *shown)
        self._space = plan.space
        self.codes = np.repeat(self.observer.code(plan.space.default[None]), count, axis=0)
        self.told: list[dict[str, Any]] = [{} for _ in range(count)]
        for index in range(count):
            self.note(index, plan.space.default)
        self.told_before = list(self.told)

    def note(self, index: int, context: NDArray[np.float64]) -> None:
        """Take note of an environment's new context.

        Args:
            index: Its number.
            context: Shape [d].
        """
        self.codes[index] = self.observer.code(context)
        self.told[index] = {"context": context.copy(), "context_id": self._space.label(context)}

    def keep(self) -> None:
        """Note the present contexts as those of the step that comes."""
        self.told_before = list(self.told)

    def info(self, index: int) -> dict[str, Any]:
        """Return what an info says of an environment's present context, as a new dictionary."""
        return copied(self.told[index])


class ChosenContexts:
    """What users reach of the contexts of one environment among several; see `ContextualEnv`.

    Subclasses are environments with `index`, and with `_owner`, whose `contexts` are `PresentContexts`.

    Attributes:
        context_space: See `ContextualEnv`, as the following.
        splits: See there.
        context_mode: See there.
        append: See there.
        units: See there.
    """

    index: int
    _owner: Any

    def _plan_contexts(self, plan: Plan) -> None:
        """Set the attributes, and that the first context is the default one."""
        self.context_space, self.splits = plan.space, plan.splits
        self.context_mode, self.append, self.units = (
            plan.settings[name] for name in ("mode", "append", "units")
        )
        self._source = ContextSource(plan.splits, plan.settings["sampler"], plan.settings["fixed"])
        self._given: NDArray[np.float64] | None = None
        self._context = plan.space.default

    @property
    def context(self) -> NDArray[np.float64]:
        """The context of this episode, raw, shape [d]; the default one before the first."""
        return self._context.copy()

    def set_next_context(self, context: Mapping[str, float] | ArrayLike) -> None:
        """Set the context of the next episode, once; see `ContextualEnv.set_next_context`."""
        self._source.set_next(context)

    def set_fixed_context(self, context: Mapping[str, float] | ArrayLike | None) -> None:
        """Set the context of all episodes; see `ContextualEnv.set_fixed_context`."""
        self._source.set_fixed(context)

    def set_sampler(self, name: str, rank: int = 0, count: int = 1) -> None:
        """Choose how contexts are sampled; see `ContextSource.set_sampler`."""
        self._source.set_sampler(name, rank, count)

    def give(self, context: NDArray[np.float64] | None) -> None:
        """Set the context of the next episode, before all others.

        Args:
            context: Checked, shape [d]; None for what comes otherwise.
        """
        self._given = context

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode of this environment alone.

        Args:
            seed: Seeds the generators; None lets them go on.
            options: `context`: that of the episode, by name or as an array.

        Returns:
            The observation with its context, and the info.

        Raises:
            HyperRLError: The context is not in the space.
        """
        self.give(self.context_of(options))
        observations, infos = self._owner.reset([seed], [self.index])
        present: PresentContexts = self._owner.contexts
        return present.observer.join(observations[0], present.codes[self.index]), infos[0]

    def context_of(self, options: Mapping[str, Any] | None) -> NDArray[np.float64] | None:
        """Return the context that options of a reset name, checked, or None.

        Raises:
            HyperRLError: It is not in the space.
        """
        context = None if options is None else options.get("context")
        return None if context is None else self.context_space.array(context)

    def _choose(self) -> NDArray[np.float64]:
        """Return the context of the episode that begins."""
        given, self._given = self._given, None
        return self._source.choose(given)

    def _contexts_state(self) -> dict[str, Any]:
        """Return the context and where the next is from, as plain data."""
        return {"context": self._context.copy(), "source": self._source.state()}


def copied(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an info says of a context, as a dictionary with an array that nobody else changes."""
    return {"context": told["context"].copy(), "context_id": told["context_id"]}
