"""A replay buffer as append-only segments: a checkpoint writes the rows that came since the last one.

Rows are numbered in the order in which they were added, from 0; row `n` lies at `n % buffer_size`. A segment
holds consecutive rows, and what has changed since in older rows: HER learns the length of an episode at its
end. Segments whose every row has been overwritten in the ring are dropped. Reading the segments in their
order fills a new buffer with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer

from hyperrl.errors import CheckpointError, StateError

if TYPE_CHECKING:
    from hyperrl.run.store import Segment

_Array = NDArray[Any]

# How Stable-Baselines3's replay buffers were built: nothing of it changes.
_BUILT_WITH = frozenset(
    {
        "action_dim",
        "action_space",
        "buffer_size",
        "copy_info_dict",
        "device",
        "env",
        "gamma",
        "goal_selection_strategy",
        "handle_timeout_termination",
        "her_ratio",
        "infos",
        "n_envs",
        "n_sampled_goal",
        "n_steps",
        "obs_shape",
        "observation_space",
        "optimize_memory_usage",
    }
)
# What may change in rows that were added earlier.
_CHANGING = ("dones", "timeouts", "ep_length")


class SegmentStore(Protocol):
    """Where segments are written and read, see `hyperrl.run.store.CheckpointStore`."""

    def append_segment(self, arrays: Mapping[str, _Array]) -> Segment:
        """Write arrays and return their segment."""

    def read_segment(self, segment: Segment) -> dict[str, _Array]:
        """Read the arrays of a segment."""


@dataclass(frozen=True)
class _Span:
    segment: Segment
    first: int
    rows: int


class ReplayLog:
    """Writes and restores the rows of one replay buffer.

    Args:
        buffer: A `ReplayBuffer`, `DictReplayBuffer`, `NStepReplayBuffer` or `HerReplayBuffer` of
            Stable-Baselines3, or a subclass whose own attributes are numbers and numeric arrays; its arrays
            of shape ``[buffer_size, n_envs, ...]`` must not change after their row was added. Attributes
            that it names in ``derived`` follow from the others and are left out.

    Raises:
        StateError: The buffer keeps something that is neither, such as HER's info dictionaries.
    """

    def __init__(self, buffer: ReplayBuffer) -> None:
        self._buffer = buffer
        self._rows, self._extra = _parts(buffer)
        self._spans: list[_Span] = []
        self._total = 0
        self._added: int | None = None
        self._known = {name: array.copy() for name, array in self._rows.items() if name in _CHANGING}

    def append(self, store: SegmentStore, added: int) -> tuple[tuple[Segment, ...], dict[str, Any]]:
        """Write what is new since the last call.

        Args:
            store: Where to.
            added: A count that grows by one with every row, such as the agent's steps per environment.

        Returns:
            The segments that hold the buffer now, oldest first, and what else it needs, as plain data.

        Raises:
            OSError: The store cannot write; the next call writes these rows.
        """
        size = self._buffer.buffer_size
        self._rows, self._extra = _parts(self._buffer)
        total, kept = self._count(added)
        first = max(self._total if kept else 0, total - size)
        spans = list(self._spans) if kept else []
        changes = self._changes(first, total) if kept else {}
        if not changes and first == total:
            ranges: list[tuple[int, int]] = []
        else:
            ranges = list(_without_wrap(first, total, size)) or [(total, 0)]
        for start, rows in ranges:
            here = slice(start % size, start % size + rows)
            arrays = {name: array[here] for name, array in self._rows.items()} if rows else {}
            if (start, rows) == ranges[-1]:
                arrays |= changes
            spans.append(_Span(store.append_segment(arrays), start, rows))
        self._spans = [span for span in spans if span.first + span.rows > total - size]
        self._total, self._added = total, added
        for name, known in self._known.items():
            np.copyto(known, self._rows[name])
        return tuple(span.segment for span in self._spans), self._state()

    def restore(self, store: SegmentStore, segments: Sequence[Segment], state: Mapping[str, Any]) -> None:
        """Fill the buffer; later calls of `append` go on from there.

        Args:
            store: Where the segments are.
            segments: The segments that `append` returned.
            state: What it returned beside them.

        Raises:
            CheckpointError: The buffer is of another size or kind.
            CheckpointCorruptError: A segment is damaged.
        """
        self._check_fits(state)
        by_name = {segment.name: segment for segment in segments}
        try:
            spans = [_Span(by_name[name], first, rows) for name, first, rows in state["spans"]]
        except KeyError as error:
            raise CheckpointError(f"the checkpoint does not list its replay segment {error}") from error
        if self._buffer.size():
            for array in self._rows.values():
                array.fill(0)
        for span in spans:
            self._fill(span, store.read_segment(span.segment))
        for name, value in state["next"].items():
            self._rows[name][state["pos"]] = value
        for name, value in state["extra"].items():
            setattr(self._buffer, name, value.copy() if isinstance(value, np.ndarray) else value)
        self._buffer.pos, self._buffer.full = state["pos"], state["full"]
        self._spans, self._total, self._added = spans, state["total"], state["added"]
        for name, known in self._known.items():
            np.copyto(known, self._rows[name])

    def _count(self, added: int) -> tuple[int, bool]:
        """Return the number of rows ever added, and whether those of older segments are among them."""
        size, pos, full = self._buffer.buffer_size, self._buffer.pos, self._buffer.full
        if self._added is not None:
            total = self._total + added - self._added
            if total >= self._total and total % size == pos and (total >= size) == full:
                return total, True
        # The first call, or somebody added or took rows beside the agent: all there is counts as new.
        return pos + (size if full else 0), False

    def _changes(self, first: int, total: int) -> dict[str, _Array]:
        """Return what differs in rows that older segments hold."""
        size = self._buffer.buffer_size
        changes = {}
        for name, known in self._known.items():
            changed = (self._rows[name] != known).any(axis=1)
            for start, rows in _without_wrap(first, total, size):
                changed[start % size : start % size + rows] = False
            places = np.flatnonzero(changed)
            if len(places):
                changes[f"changed/{name}/places"] = places
                changes[f"changed/{name}/values"] = self._rows[name][places]
        return changes

    def _state(self) -> dict[str, Any]:
        buffer = self._buffer
        # The variant that saves memory keeps the observation after the last row where the next row will be.
        after_last = ("observations",) if buffer.optimize_memory_usage else ()
        return {
            "kind": self._kind(),
            "pos": buffer.pos,
            "full": buffer.full,
            "total": self._total,
            "added": self._added,
            "spans": [[span.segment.name, span.first, span.rows] for span in self._spans],
            "next": {name: self._rows[name][buffer.pos].copy() for name in after_last},
            "extra": {
                name: value.copy() if isinstance(value, np.ndarray) else value
                for name, value in ((name, getattr(buffer, name)) for name in self._extra)
            },
        }

    def _kind(self) -> dict[str, Any]:
        kind: dict[str, Any] = {name: [array.dtype.str, *array.shape] for name, array in self._rows.items()}
        return {**kind, **dict.fromkeys(self._extra, "kept as it is")}

    def _check_fits(self, state: Mapping[str, Any]) -> None:
        here, there = self._kind(), state["kind"]
        if "packed" in here and "packed" not in there:
            raise CheckpointError(
                "the checkpoint's replay buffer is that of an older hyperrl, which did not keep transitions "
                "in packed rows: continue the run with the version that wrote it, or train it anew; hyperrl "
                "evaluate still measures it"
            )
        for name in {**there, **here}:
            was, is_here = there.get(name, "missing"), here.get(name, "missing")
            if was != is_here:
                raise CheckpointError(
                    f"the checkpoint's replay buffer does not fit this agent's: {name} was {was} and is "
                    f"{is_here} here; build the agent as it was"
                )

    def _fill(self, span: _Span, arrays: Mapping[str, _Array]) -> None:
        here = span.first % self._buffer.buffer_size
        if span.rows:
            for name, array in self._rows.items():
                array[here : here + span.rows] = arrays[name]
        for name in self._known:
            if f"changed/{name}/places" in arrays:
                self._rows[name][arrays[f"changed/{name}/places"]] = arrays[f"changed/{name}/values"]


def _without_wrap(first: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Split rows into ranges (first row, number of rows) that lie in one piece of the ring."""
    while first < end:
        rows = min(end - first, size - first % size)
        yield first, rows
        first += rows


def _parts(buffer: ReplayBuffer) -> tuple[dict[str, _Array], list[str]]:
    """Return the arrays that have one entry for each row, and the names of what else changes."""
    if getattr(buffer, "copy_info_dict", False):
        raise StateError(
            "the replay buffer keeps each step's info dictionary, which can hold anything and cannot be part "
            "of a checkpoint: build HerReplayBuffer with copy_info_dict=False"
        )
    rows: dict[str, _Array] = {}
    extra = []
    for name, value in vars(buffer).items():
        if name in _BUILT_WITH or name in ("pos", "full") or name in getattr(buffer, "derived", ()):
            continue
        if isinstance(value, dict) and value and all(_is_rows(buffer, part) for part in value.values()):
            rows.update({f"{name}/{key}": part for key, part in value.items()})
        elif _is_rows(buffer, value):
            rows[name] = value
        elif value is None or type(value) in (bool, int, float, str) or _is_numeric(value):
            extra.append(name)
        else:
            raise StateError(
                f"the replay buffer's attribute {name} is a {type(value).__name__} and cannot be part of a "
                "checkpoint: only numbers and numeric arrays can"
            )
    return rows, extra


def _is_numeric(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _is_rows(buffer: ReplayBuffer, value: Any) -> bool:
    return _is_numeric(value) and value.shape[:2] == (buffer.buffer_size, buffer.n_envs)
