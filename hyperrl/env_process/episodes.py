"""What the parent remembers of each environment, to go on with a new one where its worker fails."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hyperrl.errors import StateError

_OWN_KEY = "worker"


@dataclass
class Episode:
    """The episode of one environment, as seen from outside, and how many were lost before it.

    Attributes:
        seed: Seed of the last reset that had one; None before there is one.
        options: Options of the last reset.
        restarts: How often the environment's worker was replaced.
        under_way: Whether an episode has begun, by a reset or with a restored state.
        observation: The last one; None where none is known.
    """

    seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    under_way: bool = False
    observation: Any = None

    def see(self, observation: Any) -> None:
        """Remember what the environment shows.

        Args:
            observation: What `reset` or `step` returned.
        """
        self.under_way = True
        self.observation = observation

    def next_reset(self) -> tuple[int | None, dict[str, Any]]:
        """Return seed and options of the first reset in a new process.

        The seed differs from the old one in a reproducible way; None stays unseeded.
        """
        if self.seed is None:
            return None, self.options
        sequence = np.random.SeedSequence([abs(self.seed), self.restarts])
        return int(sequence.generate_state(1)[0]), self.options

    def step_that_lost_it(self, first: Any, reset_info: dict[str, Any], reason: str) -> tuple[Any, ...]:
        """Return what a step returns where the environment was lost in it and begins anew.

        Args:
            first: The first observation of the new episode.
            reset_info: The info of that reset.
            reason: How the environment was lost.

        Returns:
            Observation, reward, whether the episode ended, its info, and the info of the reset.
        """
        last = first if self.observation is None else self.observation
        info = {"TimeLimit.truncated": True, "terminal_observation": last, "worker_restarted": reason}
        return first, 0.0, True, info, reset_info

    def added_to(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return an environment's state with this one in it, as plain data.

        Args:
            state: What the environment itself is in.
        """
        own = {
            "seed": None if self.seed is None else int(self.seed),
            # What else a user may put there no checkpoint could keep.
            "options": {name: value for name, value in self.options.items() if _is_plain(value)},
            "restarts": self.restarts,
            "under_way": self.under_way,
            "observation": self.observation,
        }
        return {**state, _OWN_KEY: copy.deepcopy(own)}

    def recalled(self, state: Mapping[str, Any], seed: int | None) -> Episode:
        """Return the episode that is in an environment's state.

        Args:
            state: What `added_to` returned. A state without an episode came from workers that could not be
                replaced: the episode is under way then, the counts are those of this one, and nobody knows
                the last observation.
            seed: Stands in for a seed that nobody knows.

        Raises:
            StateError: What is in its place is no episode.
        """
        own = state.get(_OWN_KEY)
        if own is None:
            return Episode(self.seed if seed is None else seed, self.options, self.restarts, under_way=True)
        if not isinstance(own, Mapping) or own.keys() != {part.name for part in fields(Episode)}:
            raise StateError(f"the part {_OWN_KEY!r} of an environment's state is not one of a WorkerVecEnv")
        return Episode(**copy.deepcopy(dict(own)))


def without_episode(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment's own state, as it was before `Episode.added_to`.

    Args:
        state: With an episode or without.
    """
    return {name: value for name, value in state.items() if name != _OWN_KEY}


def _is_plain(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufc"
    if type(value) is dict:
        return all(type(name) is str and _is_plain(part) for name, part in value.items())
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str, bytes)
