"""Where an environment takes the context of its next episode from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.context import Splits
from hyperrl.context.splits import TRAIN
from hyperrl.errors import unknown_name
from hyperrl.ranges import whole
from hyperrl_envs.generator_state import generator_state, set_generator_state

SAMPLERS = ("random", "round_robin", "default")
"""`random`: drawn from the contexts of training. `round_robin`: one after the other of them. `default`: the
default of the space."""

_STREAM = 0xC0  # Keeps contexts apart from everything else that is drawn with the same seed.


class ContextSource:
    """Chooses contexts: one given for an episode, else one set for the next, else a fixed one, else a sample.

    A sample is drawn for every episode, also where another context comes before it: the sequence of samples
    depends on the seed alone. Contexts are drawn from a generator of their own, so that all else that an
    environment draws is the same for every context.

    Args:
        splits: The contexts.
        sampler: One of `SAMPLERS`.
        fixed: The context of all episodes, None for samples.

    Raises:
        HyperRLError: The sampler is unknown, or the context is not in the space.
    """

    def __init__(
        self,
        splits: Splits,
        sampler: str = "random",
        fixed: Mapping[str, float] | ArrayLike | None = None,
    ) -> None:
        self._splits = splits
        self._generator: np.random.Generator | None = None
        self._pending: NDArray[np.float64] | None = None
        self.set_sampler(sampler)
        self.set_fixed(fixed)

    def seed(self, seed: int | None) -> None:
        """Begin the sequence of samples anew.

        Args:
            seed: Of the generator; None seeds it by chance.
        """
        self._generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
        self._drawn = 0

    def choose(self, given: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the context of the next episode.

        Args:
            given: A checked context for this episode alone, which comes before all others.

        Returns:
            A new array of shape [d].
        """
        sample = self._sample()
        if given is not None:
            return given.copy()
        if self._pending is not None:
            pending, self._pending = self._pending, None
            return pending
        return sample if self._fixed is None else self._fixed.copy()

    def set_next(self, context: Mapping[str, float] | ArrayLike) -> None:
        """Set the context of the next episode for which none is given, once.

        Args:
            context: As `ContextSpace.array` takes it.

        Raises:
            HyperRLError: It is not in the space.
        """
        self._pending = self._splits.space.array(context)

    def set_fixed(self, context: Mapping[str, float] | ArrayLike | None) -> None:
        """Set the context of all episodes from the next on, or go back to samples with None.

        Raises:
            HyperRLError: It is not in the space.
        """
        self._fixed = None if context is None else self._splits.space.array(context)

    def set_sampler(self, name: str, rank: int = 0, count: int = 1) -> None:
        """Choose how contexts are sampled.

        Args:
            name: One of `SAMPLERS`.
            rank: For "round_robin", which of several environments this is: where it begins.
            count: How many there are: how far it goes each time.

        Raises:
            UnknownNameError: The name is unknown.
            ConfigError: The numbers are no places among environments.
        """
        if name not in SAMPLERS:
            raise unknown_name("sampler of contexts", str(name), SAMPLERS)
        step = int(whole(1).check("count", count))
        first = int(whole(0, step - 1).check("rank", rank))
        self._sampler, self._rank, self._count = name, first, step
        self._drawn = 0

    def state(self) -> dict[str, Any]:
        """Return everything that decides what comes next, as plain data."""
        return {
            "generator": None if self._generator is None else generator_state(self._generator),
            "pending": _copy(self._pending),
            "fixed": _copy(self._fixed),
            "sampler": [self._sampler, self._rank, self._count, self._drawn],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` of this object, or of one built alike, returned."""
        self._sampler, self._rank, self._count, self._drawn = state["sampler"]
        self._pending, self._fixed = _copy(state["pending"]), _copy(state["fixed"])
        if state["generator"] is None:
            self._generator = None
            return
        self._generator = np.random.default_rng(0)
        set_generator_state(self._generator, state["generator"])

    def _sample(self) -> NDArray[np.float64]:
        drawn, self._drawn = self._drawn, self._drawn + 1
        if self._sampler == "default":
            return self._splits.space.default.copy()
        if self._sampler == "round_robin":
            rows = self._splits.contexts(TRAIN)
            return np.array(rows[(self._rank + self._count * drawn) % len(rows)])
        if self._generator is None:
            self.seed(None)
            self._drawn = 1
        assert self._generator is not None
        return self._splits.draw(self._generator)


def _copy(context: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if context is None else np.array(context)
