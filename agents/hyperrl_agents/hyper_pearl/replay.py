"""The transitions of all tasks in one store, with two views of each: what is learned, what tells the task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from hyperrl.sb3.packed_buffer import PackedReplayBuffer

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TaskBatch:
    """Transitions of T tasks, n of each.

    Attributes:
        states: ``[T, n, S]``.
        actions: In [-1, 1], ``[T, n, A]``.
        rewards: ``[T, n]``.
        next_states: ``[T, n, S]``.
        terminated: 1 where an episode ended for good, not for its time limit; ``[T, n]``.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    next_states: Tensor
    terminated: Tensor

    def as_context(self, next_states: bool) -> Tensor:
        """Return what an encoder sees of them, ``[T, n, S + A + 1]``, with the next state S more.

        Args:
            next_states: Whether it sees next states.
        """
        parts = [self.states, self.actions, self.rewards.unsqueeze(-1)]
        return torch.cat([*parts, self.next_states] if next_states else parts, dim=-1)


class TaskReplay(PackedReplayBuffer):
    """A ring of transitions, each with its task.

    All tasks share one float32 store, whose memory the system gives page by page as it fills. The transitions
    of a task are its view for learning; those that were told to inform, since the view was last cleared, are
    its view for the encoder. Only the numbers of rows are kept for each.

    Rows are numbered in the order in which they are added; row n lies at ``n % buffer_size``.

    Args:
        buffer_size: Transitions of all tasks together.
        state_size: Numbers of a state S.
        action_space: The actions.
        n_tasks: How many tasks.
        device: Where batches are sent to.

    Attributes:
        tasks: The task of each row, ``[buffer_size, 1]``.
        informs: Whether each row informs, ``[buffer_size, 1]``.
        cleared: For each task the first row that the encoder may see, ``[n_tasks]``.
        added: Rows that were ever added.
    """

    derived = ("_learned", "_informing")
    """What `index` makes of the rest, so that no checkpoint needs it."""

    def __init__(
        self,
        buffer_size: int,
        state_size: int,
        action_space: spaces.Box,
        n_tasks: int,
        device: torch.device | str = "cpu",
    ) -> None:
        states = spaces.Box(-np.inf, np.inf, (state_size,), np.float32)
        super().__init__(buffer_size, states, action_space, device)
        self.n_tasks = n_tasks
        self.tasks = np.zeros((self.buffer_size, 1), np.int32)
        self.informs = np.zeros((self.buffer_size, 1), np.bool_)
        self.cleared = np.zeros(n_tasks, np.int64)
        self.added = 0
        self.index()

    def index(self) -> None:
        """Find the rows of all views anew, after the store was filled from a file."""
        first = max(0, self.added - self.buffer_size)
        numbers = np.arange(first, self.added)
        places = numbers % self.buffer_size
        tasks, informs = self.tasks[places, 0], self.informs[places, 0]
        self._learned = [_Numbers(numbers[tasks == task]) for task in range(self.n_tasks)]
        self._informing = [_Numbers(numbers[(tasks == task) & informs]) for task in range(self.n_tasks)]

    def add_episode(
        self,
        task: int,
        states: _Floats,
        actions: _Floats,
        rewards: _Floats,
        next_states: _Floats,
        terminated: NDArray[np.bool_],
        *,
        informs: bool,
    ) -> None:
        """Add a whole episode, its last transition included.

        Args:
            task: Its task.
            states: ``[L, S]``.
            actions: In [-1, 1], ``[L, A]``.
            rewards: ``[L]``.
            next_states: ``[L, S]``.
            terminated: ``[L]``.
            informs: Whether the encoder may see it.
        """
        ends = np.zeros(len(rewards), np.float32)
        ends[-1] = 1.0
        timeouts = ends * ~terminated
        columns = [states, next_states, actions, rewards[:, None], ends[:, None], timeouts[:, None]]
        numbers = np.arange(self.added, self.added + len(rewards))
        # Of an episode longer than the store only its end stays.
        kept = slice(max(0, len(numbers) - self.buffer_size), None)
        places = numbers[kept] % self.buffer_size
        self.packed[places, 0] = np.concatenate(columns, axis=1)[kept]
        self.tasks[places, 0], self.informs[places, 0] = task, informs
        self.added += len(numbers)
        self.pos = self.added % self.buffer_size
        self.full = self.added >= self.buffer_size
        self._learned[task].append(numbers)
        if informs:
            self._informing[task].append(numbers)

    def clear_context(self, task: int) -> None:
        """Empty the encoder's view of a task; what is learned from stays."""
        self.cleared[task] = self.added

    def rows_of(self, task: int) -> _Ints:
        """Return the numbers of a task's rows, ``[n]``."""
        return self._learned[task].since(self.added - self.buffer_size)

    def context_of(self, task: int) -> _Ints:
        """Return the numbers of the rows of a task that the encoder sees, ``[n]``."""
        return self._informing[task].since(max(self.added - self.buffer_size, int(self.cleared[task])))

    def without_context(self) -> _Ints:
        """Return the tasks of which the encoder sees nothing, ``[n]``."""
        return np.array([task for task in range(self.n_tasks) if not len(self.context_of(task))], np.int64)

    def draw(self, tasks: _Ints, count: int, rng: np.random.Generator, *, context: bool) -> TaskBatch:
        """Draw transitions of tasks evenly, with replacement.

        Args:
            tasks: ``[T]``; each must have transitions in the view.
            count: How many of each, n.
            rng: What draws.
            context: Whether from what the encoder sees.
        """
        view = self.context_of if context else self.rows_of
        numbers = []
        for task in tasks:
            own = view(int(task))
            numbers.append(own[rng.integers(len(own), size=count)])
        places = torch.from_numpy(np.stack(numbers) % self.buffer_size)
        rows = torch.from_numpy(self.packed).view(-1, self.packed.shape[-1])
        picked = rows.index_select(0, places.flatten()).to(self.device)
        parts = picked.view(len(tasks), count, -1).tensor_split(self._ends()[:-1], dim=-1)
        states, next_states, actions, rewards, ends, timeouts = parts
        terminated = (ends * (1 - timeouts)).squeeze(-1)
        return TaskBatch(states, actions, rewards.squeeze(-1), next_states, terminated)


class _Numbers:
    """Numbers of rows in rising order, which grow at the end and die at the beginning."""

    def __init__(self, numbers: _Ints) -> None:
        self._numbers, self._size = numbers, len(numbers)

    def append(self, numbers: _Ints) -> None:
        size = self._size + len(numbers)
        if size > len(self._numbers):
            grown = np.empty(2 * size, np.int64)
            grown[: self._size] = self._numbers[: self._size]
            self._numbers = grown
        self._numbers[self._size : size] = numbers
        self._size = size

    def since(self, first: int) -> _Ints:
        """Return those from a number on, and forget the others where they are many."""
        own = self._numbers[: self._size]
        dead = int(np.searchsorted(own, first))
        if dead > len(own) // 2 and dead > 1024:
            self._numbers, self._size = own[dead:].copy(), len(own) - dead
            return self._numbers[: self._size]
        return own[dead:]
