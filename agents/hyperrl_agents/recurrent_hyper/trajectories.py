"""Whole trials, as VariBAD's bound is trained on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Trials(NamedTuple):
    """B trials, padded to the longest one of T steps.

    Attributes:
        features: Of the observation before each step, ``[T, B, F]``.
        next_features: Of the one after it, the last one of an episode at its end, with the step's action and
            reward, ``[T, B, F]``.
        lengths: Steps of each, ``[B]``.
    """

    features: Tensor
    next_features: Tensor
    lengths: Tensor


class TrialBuffer:
    """Keeps the newest whole trials, and in each environment the beginning of one that goes on.

    Args:
        capacity: How many trials.
        n_envs: Number of environments.
        size: Numbers of features F.
    """

    def __init__(self, capacity: int, n_envs: int, size: int) -> None:
        self._size = size
        self._whole: deque[NDArray[np.float32]] = deque(maxlen=capacity)
        self._begun: list[list[NDArray[np.float32]]] = [[] for _ in range(n_envs)]

    def __len__(self) -> int:
        """Return how many trials there are."""
        return len(self._whole)

    def add(
        self, features: NDArray[np.float32], next_features: NDArray[np.float32], starts: NDArray[np.bool_]
    ) -> None:
        """Take the steps of a rollout.

        Args:
            features: ``[T, N, F]``.
            next_features: See `Trials`, ``[T, N, F]``.
            starts: Whether a trial begins at a step, the first one after the rollout in the last row,
                ``[T + 1, N]``.
        """
        both = np.concatenate([features, next_features], axis=2)
        for env, begun in enumerate(self._begun):
            cuts = [0, *np.flatnonzero(starts[1:, env]) + 1, len(both)]
            if starts[0, env]:
                # What was begun before was given up: its environment was reset.
                begun.clear()
            for begin, end in pairwise(cuts):
                if begin < end:
                    begun.append(both[begin:end, env].copy())
                if starts[end, env] and begun:
                    self._whole.append(np.concatenate(begun))
                    begun.clear()

    def sample(self, count: int, device: torch.device) -> Trials:
        """Draw trials, none twice.

        Args:
            count: How many; all where there are fewer.
            device: Where they are to be.
        """
        chosen = [self._whole[index] for index in np.random.permutation(len(self._whole))[:count]]
        lengths = np.array([len(rows) for rows in chosen])
        padded = np.zeros((lengths.max(), len(chosen), 2 * self._size), np.float32)
        for column, rows in enumerate(chosen):
            padded[: len(rows), column] = rows
        features, next_features = torch.from_numpy(padded).to(device).split(self._size, dim=2)
        return Trials(features, next_features, torch.from_numpy(lengths).to(device))

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as plain data."""
        return {
            "whole": _packed(list(self._whole), self._size),
            "begun": [_packed(rows, self._size) for rows in self._begun],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state: What `state` returned.
        """
        self._whole.clear()
        self._whole.extend(_unpacked(state["whole"]))
        for begun, rows in zip(self._begun, state["begun"], strict=True):
            begun[:] = _unpacked(rows)


def _packed(pieces: list[NDArray[np.float32]], size: int) -> dict[str, NDArray[Any]]:
    rows = np.concatenate(pieces) if pieces else np.zeros((0, 2 * size), np.float32)
    return {"rows": rows, "lengths": np.array([len(piece) for piece in pieces], np.int64)}


def _unpacked(packed: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    ends = np.cumsum(packed["lengths"])
    return [piece.copy() for piece in np.split(packed["rows"], ends)[: len(ends)]]
