"""Sequences cut where trials begin, so that one call of a recurrent network goes through all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Segments(NamedTuple):
    """n pieces of E sequences of T steps, padded to the longest of L steps.

    Attributes:
        rows: Which of the T * E steps, in the order of time, stands where; padding repeats the first step,
            ``[L, n]``.
        places: Where each step is among the L * n, ``[T * E]``.
        continues: Whether a piece goes on with what the sequence remembers, ``[n]``.
        sequences: The sequence that each piece is of, ``[n]``.
    """

    rows: Tensor
    places: Tensor
    continues: Tensor
    sequences: Tensor

    @classmethod
    def of(cls, starts: NDArray[np.bool_], device: torch.device | str = "cpu") -> Segments:
        """Cut sequences.

        Args:
            starts: Whether a trial begins at a step, ``[T, E]``.
            device: Where the numbers are to be.
        """
        steps, count = starts.shape
        cut = starts.copy()
        cut[0] = True
        # One sequence after the other, each in the order of time.
        sequences, begins = np.nonzero(cut.T)
        piece = np.cumsum(cut.T.reshape(-1)) - 1
        step = np.tile(np.arange(steps), count)
        within = step - begins[piece]
        rows = np.zeros((within.max() + 1, len(begins)), np.int64)
        rows[within, piece] = step * count + np.repeat(np.arange(count), steps)
        places = (within * len(begins) + piece).reshape(count, steps).T.reshape(-1)
        continues = ~starts[begins, sequences]

        def sent(array: NDArray[np.int64] | NDArray[np.bool_]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        return cls(sent(rows), sent(places), sent(continues), sent(sequences))
