"""Which rows of a batch have the same context, so that what depends on it alone is computed once for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode


@dataclass(frozen=True)
class Groups:
    """The distinct contexts of B rows, and which row has which.

    Attributes:
        contexts: ``[U, d]``.
        rows: B.
        each: Rows of each group where all groups have as many and lie one after the other; else None.
        ids: The group of each row, ``[B]``, where the groups differ in size.
        gather: Rows of each group, ``[U, L]``, filled up to the longest group with row 0, likewise.
        slots: Where in ``gather`` (flattened) each row stands, ``[B]``, likewise.
    """

    contexts: Tensor
    rows: int
    each: int | None = None
    ids: Tensor | None = None
    gather: Tensor | None = None
    slots: Tensor | None = None

    @classmethod
    def regular(cls, contexts: Tensor, rows: int) -> Groups:
        """Return groups of the same size, one after the other.

        Args:
            contexts: ``[U, d]``.
            rows: B, a multiple of U.
        """
        return cls(contexts, rows, rows // len(contexts))

    @classmethod
    def by_row(cls, contexts: Tensor) -> Groups:
        """Return groups of one row each; where contexts have no numbers, one group of the context ``[1.0]``.

        Args:
            contexts: ``[B, d]``.
        """
        if contexts.shape[1] == 0:
            return cls.regular(contexts.new_ones(1, 1), len(contexts))
        return cls.regular(contexts, len(contexts))

    @classmethod
    def of_ids(cls, contexts: Tensor, ids: NDArray[np.int64]) -> Groups:
        """Return the groups of rows whose contexts are known by number.

        Args:
            contexts: A table of contexts, ``[N, d]``; those without a row are left out.
            ids: The number of each row's context, ``[B]``.
        """
        used, ids, counts = np.unique(ids, return_inverse=True, return_counts=True)
        device = contexts.device
        if len(used) < len(contexts):
            contexts = contexts[torch.from_numpy(used).to(device)]
        if len(used) == 1:
            return cls.regular(contexts, len(ids))
        order = np.argsort(ids, kind="stable")
        starts = np.cumsum(counts) - counts
        places = np.arange(len(ids)) - np.repeat(starts, counts)
        longest = int(counts.max())
        gather = np.zeros((len(used), longest), np.int64)
        slots = np.empty(len(ids), np.int64)
        sorted_ids = ids[order]
        gather[sorted_ids, places] = order
        slots[order] = sorted_ids * longest + places
        tensors = (torch.from_numpy(array).to(device) for array in (ids, gather, slots))
        return cls(contexts, len(ids), None, *tensors)

    def spread(self, values: Tensor) -> Tensor:
        """Give each row what was computed for its context.

        Args:
            values: ``[U, ...]``.

        Returns:
            ``[B, ...]``, or ``[1, ...]`` where all rows have the same context.
        """
        if self.each is None:
            assert self.ids is not None
            return values.index_select(0, self.ids)
        if self.each == 1 or len(values) == 1:
            return values
        return values.unsqueeze(1).expand(-1, self.each, *values.shape[1:]).flatten(0, 1)

    def pad(self, x: Tensor) -> Tensor:
        """Bring rows ``[B, n]`` into their groups, ``[U, L, n]``."""
        if self.each is not None:
            return x.reshape(len(self.contexts), self.each, -1)
        assert self.gather is not None
        return x.index_select(0, self.gather.flatten()).view(*self.gather.shape, -1)

    def unpad(self, y: Tensor) -> Tensor:
        """Bring what was computed in groups ``[U, L, n]`` back into the order of the rows, ``[B, n]``."""
        flat = y.flatten(0, 1)
        return flat if self.slots is None else flat.index_select(0, self.slots)


def numbered(contexts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the distinct contexts of some rows, and the number of each row's.

    Rows are the same context where all their bits are.

    Args:
        contexts: ``[B, d]``.

    Returns:
        ``[U, d]`` and ``[B]``.
    """
    table = np.ascontiguousarray(contexts)
    keys = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()
    _, first, ids = np.unique(keys, return_index=True, return_inverse=True)
    return table[first], ids


class Grouping:
    """Finds the groups of batches, and remembers those of the last one.

    While it is traced or differentiated by torch's transforms, where no value can be looked at, each row is a
    group of its own, unless the groups are known before (`regular`).
    """

    def __init__(self) -> None:
        self._each: int | None = None
        self._last: tuple[Tensor, Groups] | None = None

    @contextmanager
    def regular(self, each: int | None) -> Iterator[None]:
        """Say that batches have groups of this size, one after the other.

        Args:
            each: Rows of a group; None for batches of which nothing is known.
        """
        before, self._each = self._each, each
        try:
            yield
        finally:
            self._each = before

    def of(self, contexts: Tensor) -> Groups:
        """Return the groups of a batch; of one that is equal to the last one, the very same object.

        Args:
            contexts: ``[B, d]``; without any numbers, d = 0, all rows have the one context ``[1.0]``.
        """
        rows, size = contexts.shape
        if self._each is not None and size and rows % self._each == 0:
            return Groups.regular(contexts.reshape(-1, self._each, size)[:, 0], rows)
        if torch.compiler.is_compiling() or get_proxy_mode() is not None or _transformed():
            return Groups.by_row(contexts)
        last = self._last
        if last is not None and last[0].shape == contexts.shape and torch.equal(last[0], contexts):
            return last[1]
        # A copy: a buffer may be written to.
        contexts = contexts.detach().clone()
        groups = self._found(contexts)
        self._last = contexts, groups
        return groups

    def _found(self, contexts: Tensor) -> Groups:
        if contexts.shape[1] == 0:
            return Groups.by_row(contexts)
        distinct, ids = numbered(contexts.cpu().numpy())
        return Groups.of_ids(torch.from_numpy(distinct).to(contexts.device), ids)

    def remembers(self, groups: Groups) -> bool:
        """Whether these are the groups of the last batch, which the same contexts will get again.

        Args:
            groups: What `of` returned.
        """
        return self._last is not None and self._last[1] is groups

    def forget(self) -> None:
        """Forget the last batch, and with it what networks keep for its contexts."""
        self._last = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was only remembered."""
        return {"_each": None, "_last": None}


def _transformed() -> bool:
    return bool(torch._C._are_functorch_transforms_active())
