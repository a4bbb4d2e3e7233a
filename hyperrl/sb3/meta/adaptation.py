"""What it is to adapt: act in tasks never seen, look at what happens, act better in the next episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hyperrl.plain_policy import PlainPolicy


class Transition(NamedTuple):
    """One step of n tasks side by side; observations are those of the environment, before any normaliser.

    Attributes:
        observations: Before the step: an array [n, ...] or a dict of such.
        actions: Shape [n, A].
        rewards: Shape [n].
        next_observations: After the step; the last one of an episode where it ended.
        terminated: Whether the episode ended for good (not for its time limit), shape [n].
        playing: Whether the task's episode was still going on before the step, shape [n]; other rows say
            nothing.
    """

    observations: Any
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    next_observations: Any
    terminated: NDArray[np.bool_]
    playing: NDArray[np.bool_]


class Adaptation(ABC):
    """An agent that is adapting to n tasks at once, an episode of each at a time.

    The agent itself stays as it is. After k calls of `end_episode` it acts as k episodes of data allow;
    before the first it acts zero-shot.

    Args:
        tasks: How many tasks n.
    """

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks

    def begin_episode(self) -> None:  # noqa: B027  # Not all of them have something to do.
        """Learn that a new episode begins in all tasks."""

    @abstractmethod
    def act(self, observations: Any, *, explore: bool) -> NDArray[np.float32]:
        """Return actions of shape [n, A] in the environment's own range.

        Args:
            observations: As in `Transition`.
            explore: Whether the episode is played to learn from it; otherwise the policy acts without noise.
        """

    @abstractmethod
    def observe(self, transition: Transition) -> None:
        """Look at a step, right after it was made.

        Within an episode that is only evaluated it is called as well, for what remembers; `snapshot` and
        `restore` take it back.
        """

    @abstractmethod
    def end_episode(self) -> None:
        """Adapt to what was seen: all tasks have ended an episode that was played to learn."""

    @abstractmethod
    def snapshot(self) -> Any:
        """Return all that the adaptation has learned and remembers, to go back to."""

    @abstractmethod
    def restore(self, snapshot: Any) -> None:
        """Go back to what `snapshot` returned."""

    @abstractmethod
    def specialise(self, task: int) -> PlainPolicy:
        """Return the policy of one task, as it is adapted now, as a plain policy of the observation.

        Args:
            task: Its number, from 0.

        Raises:
            ExportError: It is more than a plain policy.
        """


@runtime_checkable
class Adaptive(Protocol):
    """An agent that can adapt."""

    def adaptation(self, contexts: NDArray[np.float64]) -> Adaptation:
        """Begin to adapt to tasks.

        Args:
            contexts: The tasks, raw, shape [n, d]; an agent that is not told its task uses their number only.

        Raises:
            HyperRLError: A context is not in the space.
        """
        ...
