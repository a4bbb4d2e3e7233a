"""Where in the features of an observation of trials its parts stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from hyperrl.errors import UnsupportedSpaceError
from hyperrl.sb3.contexts.extractor import ordered_keys
from hyperrl.sb3.meta.trials import ACTION, ADDED, EPISODE, REWARD, START


@dataclass(frozen=True)
class Columns:
    """The parts of features ``[..., F]``, which are those of `hyperrl.sb3.meta.trials` side by side.

    Attributes:
        keys: The parts in their order.
        places: Where each is.
    """

    keys: tuple[str, ...]
    places: dict[str, slice]

    @classmethod
    def of(cls, space: spaces.Space[Any]) -> Columns:
        """Lay out observations of trials.

        Args:
            space: Their space.

        Raises:
            UnsupportedSpaceError: They are none of trials.
        """
        if not isinstance(space, spaces.Dict) or not set(ADDED) < set(space.spaces):
            raise UnsupportedSpaceError(
                f"RecurrentHyper acts on observations of hyperrl.sb3.meta.trials.TrialVecEnv, got {space}"
            )
        keys, places, begin = tuple(ordered_keys(space)), {}, 0
        for key in keys:
            end = begin + spaces.flatdim(space.spaces[key])
            places[key] = slice(begin, end)
            begin = end
        return cls(keys, places)

    @property
    def own(self) -> tuple[str, ...]:
        """The environment's own parts: the state."""
        return tuple(key for key in self.keys if key not in ADDED)

    @property
    def state_size(self) -> int:
        """Numbers of the state S."""
        return sum(self.places[key].stop - self.places[key].start for key in self.own)

    @property
    def action_size(self) -> int:
        """Numbers of an action A."""
        place = self.places[ACTION]
        return int(place.stop - place.start)

    def state(self, features: Tensor) -> Tensor:
        """The state ``[..., S]``."""
        return torch.cat([features[..., self.places[key]] for key in self.own], dim=-1)

    def action(self, features: Tensor) -> Tensor:
        """The last action ``[..., A]``."""
        return features[..., self.places[ACTION]]

    def reward(self, features: Tensor) -> Tensor:
        """The last reward ``[..., 1]``."""
        return features[..., self.places[REWARD]]

    def episode(self, features: Tensor) -> Tensor:
        """1 where an episode begins ``[..., 1]``."""
        return features[..., self.places[EPISODE]]

    def start(self, features: Tensor) -> Tensor:
        """1 where a trial begins ``[..., 1]``."""
        return features[..., self.places[START]]

    def flat(self, observation: dict[str, Tensor]) -> Tensor:
        """Observations ``[B, ...]`` by key as features ``[B, F]``."""
        return torch.cat([observation[key].flatten(1).float() for key in self.keys], dim=1)
