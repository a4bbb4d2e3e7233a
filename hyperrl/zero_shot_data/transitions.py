"""The transitions of one task as arrays, and as bytes in the form of safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hyperrl.errors import DatasetError, NonFiniteError, ShapeError

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Transitions:
    """What happened in one task, step by step; float32 throughout.

    Attributes:
        states: Observations without the context, shape [n, s].
        actions: The expert's actions, rescaled to [-1, 1], shape [n, a].
        rewards: Shape [n].
        next_states: Shape [n, s].
        terminated: 1 where the episode ended by itself, not by its time limit, else 0; shape [n].
        values: What the state and action are worth to the expert, discounted; shape [n].

    Raises:
        ShapeError: The shapes do not fit, or there is no row.
        NonFiniteError: A number is NaN or infinite.
        DatasetError: An action lies outside of [-1, 1], or `terminated` is neither 0 nor 1.
    """

    states: Array
    actions: Array
    rewards: Array
    next_states: Array
    terminated: Array
    values: Array

    def __post_init__(self) -> None:
        """Take float32 arrays and check them."""
        for field in fields(self):
            given = np.ascontiguousarray(getattr(self, field.name), np.float32)
            object.__setattr__(self, field.name, given)
            if not np.isfinite(given).all():
                raise NonFiniteError(f"the {field.name} of a task have a value that is NaN or infinite")
        rows = len(self.rewards)
        flat = (self.rewards, self.terminated, self.values)
        if (
            not rows
            or any(array.shape != (rows,) for array in flat)
            or self.states.ndim != 2
            or self.states.shape != self.next_states.shape
            or self.actions.ndim != 2
            or len(self.states) != rows
            or len(self.actions) != rows
        ):
            shapes = ", ".join(f"{field.name} {getattr(self, field.name).shape}" for field in fields(self))
            raise ShapeError(
                f"the transitions of a task need arrays of the same number of rows, got {shapes}"
            )
        if np.abs(self.actions).max() > 1:
            raise DatasetError("the actions of a task must be rescaled to [-1, 1]")
        if not np.isin(self.terminated, (0, 1)).all():
            raise DatasetError("what says whether episodes terminated must be 0 or 1")

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.rewards)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of a state and of an action."""
        return self.states.shape[1], self.actions.shape[1]

    def to_bytes(self) -> bytes:
        """Return the content of a file."""
        return save({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> Transitions:
        """Read what `to_bytes` returned.

        Args:
            data: The content of the file.
            source: What the file is called in messages.

        Raises:
            DatasetError: It is not what `to_bytes` returns.
        """
        names = {field.name for field in fields(cls)}
        try:
            arrays = load(data)
        except (SafetensorError, KeyError, ValueError) as error:
            raise DatasetError(f"{source} is damaged: {error}") from error
        if arrays.keys() != names:
            raise DatasetError(
                f"{source} must hold {', '.join(sorted(names))}, got {', '.join(sorted(arrays))}"
            )
        try:
            return cls(**arrays)
        except (ShapeError, NonFiniteError, DatasetError) as error:
            raise DatasetError(f"{source} cannot be learned from: {error}") from error


def joined(parts: Sequence[Transitions]) -> Transitions:
    """Put transitions behind each other.

    Args:
        parts: At least one.
    """
    names = [field.name for field in fields(Transitions)]
    return Transitions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
