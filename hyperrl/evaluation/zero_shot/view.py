"""Where in an observation the context is, so that a policy can be told another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.context import ContextSpace, shown, shown_size
from hyperrl.errors import ContextError

Observations = NDArray[Any] | dict[str, NDArray[Any]]
"""A batch of observations, one row each."""


@dataclass(frozen=True)
class ContextView:
    """How observations hold the context.

    Attributes:
        space: The space of contexts.
        mode: "visible", "hidden" or "privileged".
        append: "dict" or "flat", where the context is the last numbers.
        units: "normalised" or "raw".
    """

    space: ContextSpace
    mode: str
    append: str
    units: str

    @property
    def is_visible(self) -> bool:
        """Whether observations have the context at all."""
        return self.mode != "hidden"

    def as_observed(self, contexts: ArrayLike) -> NDArray[np.float32]:
        """Return contexts as observations hold them.

        Args:
            contexts: Shape [n, d].
        """
        return shown(self.space, contexts, self.units)

    def replaced(self, observations: Observations, rows: list[int], contexts: ArrayLike) -> Observations:
        """Return a copy of observations in which some rows have another context.

        Args:
            observations: A batch.
            rows: Which rows.
            contexts: The contexts of these, shape [len(rows), d].

        Raises:
            ContextError: The observations have no context.
        """
        if not self.is_visible:
            raise ContextError("the context is hidden from the policy: it cannot be told another one")
        values = self.as_observed(contexts)
        if isinstance(observations, dict):
            context = observations["context"].copy()
            context[rows] = values
            return {**observations, "context": context}
        changed = observations.copy()
        changed[rows, -shown_size(self.space, self.units) :] = values
        return changed
