"""What each architecture earned while it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.nets.architectures import ArchitectureSpace


class ArchitectureReturns:
    """Returns of the episodes that one architecture flew from their start to their end.

    Architectures change while episodes go on, so that the returns which Stable-Baselines3 logs are mixtures:
    those episodes do not count here.

    Args:
        space: The architectures.
        n_envs: Number of environments.
    """

    def __init__(self, space: ArchitectureSpace, n_envs: int) -> None:
        self._space = space
        self.episodes: NDArray[np.int64] = np.zeros(len(space), np.int64)
        """How many episodes of each architecture there were, ``[N]``."""
        self.last: NDArray[np.float64] = np.full(len(space), np.nan)
        """The last one's return, NaN before the first, ``[N]``."""
        self._whole: NDArray[np.bool_] = np.zeros(n_envs, np.bool_)
        self._acting: NDArray[np.int64] = np.full(n_envs, -1, np.int64)
        self._new: dict[int, list[float]] = {}

    def assign(self, numbers: NDArray[np.int64], starts: NDArray[np.bool_]) -> None:
        """Note which architecture acts from here on.

        Args:
            numbers: Of each environment, ``[n_envs]``.
            starts: Whether each environment is at the start of an episode, ``[n_envs]``.
        """
        self._whole = (self._whole & (self._acting == numbers)) | starts.astype(np.bool_)
        self._acting = numbers.copy()

    def step(self, infos: list[dict[str, Any]], dones: NDArray[np.bool_]) -> None:
        """Take note of the episodes that ended.

        Args:
            infos: Of each environment, with Stable-Baselines3's ``episode`` where one ended.
            dones: Whether each environment's episode ended, ``[n_envs]``.
        """
        for place in np.flatnonzero(dones):
            episode = infos[place].get("episode")
            if self._whole[place] and episode is not None:
                number = int(self._acting[place])
                self.episodes[number] += 1
                self.last[number] = episode["r"]
                self._new.setdefault(len(self._space[number]), []).append(float(episode["r"]))
            self._whole[place] = True

    def take_means(self) -> dict[int, float]:
        """Return the mean return of the episodes since the last call, by number of hidden layers."""
        means = {depth: float(np.mean(returns)) for depth, returns in sorted(self._new.items())}
        self._new = {}
        return means

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as plain data."""
        names = ("episodes", "last", "_whole", "_acting")
        return {name: getattr(self, name).copy() for name in names} | {
            "_new": {depth: list(returns) for depth, returns in self._new.items()}
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state: What `state` returned.
        """
        for name, value in state.items():
            setattr(self, name, value)
