"""What the episodes of trials earned, the first ones apart from the last ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TrialReturns:
    """Sums the returns of episodes by their place in the trial, until they are asked for.

    Args:
        episodes: Episodes of a trial.
    """

    def __init__(self, episodes: int) -> None:
        self._sums: NDArray[np.float64] = np.zeros(episodes)
        self._counts: NDArray[np.int64] = np.zeros(episodes, np.int64)

    def step(self, infos: list[dict[str, Any]], dones: NDArray[Any]) -> None:
        """Take note of the episodes that ended.

        Args:
            infos: Of each environment, with Stable-Baselines3's ``episode`` where one ended.
            dones: Whether each environment's episode ended.
        """
        for index in np.flatnonzero(dones):
            episode = infos[index].get("episode")
            if episode is not None:
                place = infos[index]["trial"]["episode"]
                self._sums[place] += episode["r"]
                self._counts[place] += 1

    def take_means(self) -> dict[int, float]:
        """Return the mean returns since the last call, by the episode's number in the trial from 1."""
        means = {
            int(place) + 1: float(self._sums[place] / self._counts[place])
            for place in np.flatnonzero(self._counts)
        }
        self._sums[:], self._counts[:] = 0, 0
        return means

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as plain data."""
        return {"sums": self._sums.copy(), "counts": self._counts.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state: What `state` returned.
        """
        self._sums[:], self._counts[:] = state["sums"], state["counts"]
