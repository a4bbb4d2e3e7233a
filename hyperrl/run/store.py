"""The checkpoints of a run: written so that a crash at any moment costs none of them, and verified when read.

```
latest.json, best.json      pointers: the name of a checkpoint and the SHA-256 of its manifest
step-000000012000/          a checkpoint
    policy.safetensors      the policy's weights
    state.safetensors       the arrays and tensors of the rest of the state
    state.json              the rest of the state, see `hyperrl.run.packing`
    checkpoint.json         steps, and what the checkpoint says of itself
    manifest.json           size and SHA-256 of all these and of the replay segments; written last
replay/                     segments of the replay buffer, each written once and shared by checkpoints
```

A checkpoint is written under a hidden name, synced and moved into place; only then the pointers move, and
only then older ones go. "best" moves before "latest": a run that is killed in between continues from the
older one and comes to the same best again. Nothing is unpickled, ever.
"""

from __future__ import annotations

import contextlib
import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hyperrl.errors import (
    BoundsError,
    CheckpointCorruptError,
    CheckpointError,
    unknown_name,
)
from hyperrl.run import members, sealed
from hyperrl.run.contents import Checkpoint, encode_checkpoint, read_checkpoint
from hyperrl.run.files import FILES, Files, create_files, make_folders, remove_tree
from hyperrl.run.members import Manifest, Member, Segment
from hyperrl.run.pointers import BEST, LATEST, POINTERS, read_pointer, write_pointer
from hyperrl.run.reading import UnreadableError
from hyperrl.run.rotation import (
    REPLAY,
    Entry,
    RemovalError,
    drop_segments,
    entries,
    folder_name,
    rotate,
    tidy,
)
from hyperrl.run.segments import SegmentLostError, SegmentUnreadableError, read_segment, write_segment

__all__ = ["Checkpoint", "CheckpointStore", "Segment"]

_MOST_STEPS = 10**18


class CheckpointStore:
    """The folder in which a run keeps its checkpoints; one process at a time may write to it.

    Args:
        folder: The folder, made by the first save.
        keep: How many of the newest checkpoints stay; the best one stays besides.
        files: What writes to the disk.

    Raises:
        BoundsError: `keep` is less than 1.
    """

    def __init__(self, folder: Path, keep: int = 3, files: Files = FILES) -> None:
        if keep < 1:
            raise BoundsError(f"a store must keep at least 1 checkpoint, not {keep}")
        self.folder = Path(folder)
        self.keep = keep
        self._files = files
        # Segments written for a checkpoint that does not exist yet.
        self._fresh: set[str] = set()

    def save(
        self,
        steps: int,
        *,
        weights: Mapping[str, Tensor],
        state: Any,
        about: Mapping[str, Any],
        segments: Sequence[Segment] = (),
        best: bool = False,
    ) -> Path:
        """Write a checkpoint; "latest" is it once it is complete, and the one before until then.

        A step that was saved before is replaced. When this fails or is killed, what it left behind is removed
        by the next save.

        Args:
            steps: Environment steps taken so far.
            weights: The policy's weights by name.
            state: Everything else, a tree for `hyperrl.run.packing.pack`.
            about: What to say of it, of plain JSON values.
            segments: The replay segments that belong to it, as `append_segment` returned them.
            best: Whether "best" shall be this one.

        Returns:
            Its folder.

        Raises:
            BoundsError: `steps` is negative.
            StateError: A weight or a part of the state cannot be saved; nothing was written.
            SegmentLostError: A segment is not there any more, or is another file; nothing was written.
            SegmentUnreadableError: The system refuses to read a segment; nothing was written.
            CheckpointError: A segment has a name that this store gives to none; nothing was written.
            RemovalError: The checkpoint is written, but older ones could not be removed.
            OSError: The disk refuses. "latest" still can be loaded: it is the one before.
        """
        steps = operator.index(steps)
        if not 0 <= steps < _MOST_STEPS:
            raise BoundsError(f"a checkpoint must be of 0 to {_MOST_STEPS} steps, not {steps}")
        contents = encode_checkpoint(steps, weights, state, about)
        self._check_segments(segments)
        make_folders(self.folder, self._files)
        tidy(self.folder, self._files)
        older = entries(self.folder)
        manifest = Manifest(
            serial=max((entry.order[0] for entry in older), default=-1) + 1,
            best=best,
            members=tuple(
                Member(name, len(content), sealed.sha256(content)) for name, content in contents.items()
            ),
            segments=tuple(segments),
        )
        revision = max((entry.revision for entry in older if entry.steps == steps), default=-1) + 1
        new = Entry(self.folder / folder_name(steps, revision), steps, revision, manifest)
        contents[members.MANIFEST] = manifest.to_bytes()
        self._write(contents, new.path)
        for pointer in (BEST, LATEST) if best else (LATEST,):
            write_pointer(self.folder, pointer, folder_name(steps), contents[members.MANIFEST], self._files)
        self._fresh.difference_update(segment.name for segment in segments)
        try:
            found = [*older, new]
            found = rotate(self.folder, found, self.keep, self._pinned(found), self._files)
            drop_segments(self.folder, found, self._fresh, self._files)
        except OSError as error:
            raise RemovalError(error.errno, error.strerror or str(error)) from error
        return read_pointer(self.folder, LATEST)

    def load(self, name: str = LATEST, *, replay: bool = True) -> Checkpoint:
        """Read and verify a checkpoint.

        Where "latest" or "best" is damaged, the newest good one stands in, with a warning that names both.

        Args:
            name: "latest", "best", a name out of `names()`, or its number of steps.
            replay: Whether to verify the content of the replay segments too, rather than their sizes alone:
                without, it takes no longer for a larger buffer.

        Raises:
            CheckpointError: There is no checkpoint at all, or a newer hyperrl wrote this one.
            CheckpointCorruptError: The one that was named is damaged; or "latest" is, and so are all others.
            UnknownNameError: There is no such checkpoint; the sentence names those that there are.
        """
        try:
            return read_checkpoint(self._resolve(name), replay=replay)
        except CheckpointCorruptError as error:
            if name not in POINTERS:
                raise
            return self._stand_in(name, error, replay)

    def verify(self, name: str, *, replay: bool = True) -> str:
        """Verify a checkpoint, and for "latest" and "best" the pointer too; nothing stands in for it.

        Args:
            name: As for `load`.
            replay: As for `load`.

        Returns:
            The name of its folder.

        Raises:
            CheckpointCorruptError: It is damaged; the sentence names the file and the fault.
            CheckpointError: There is no checkpoint at all, or a newer hyperrl wrote this one.
            UnknownNameError: There is no such checkpoint.
        """
        return read_checkpoint(self._resolve(name), replay=replay).name

    def names(self) -> list[str]:
        """Return the names of all checkpoints that were written completely, the oldest first."""
        return [entry.path.name for entry in entries(self.folder)]

    def append_segment(self, arrays: Mapping[str, np.ndarray]) -> Segment:
        """Write rows of a replay buffer, to be named in the next save.

        Args:
            arrays: Arrays of real numbers or truth values by name.

        Returns:
            What `save` and `read_segment` take.

        Raises:
            StateError: An array has another type.
            OSError: The disk refuses.
        """
        segment = write_segment(self.folder / REPLAY, arrays, self._files)
        self._fresh.add(segment.name)
        return segment

    def read_segment(self, segment: Segment) -> dict[str, np.ndarray]:
        """Read and verify rows of a replay buffer.

        Args:
            segment: What `append_segment` returned, perhaps out of a checkpoint.

        Raises:
            CheckpointCorruptError: It is missing or not what was written.
        """
        return read_segment(self.folder / REPLAY, segment)

    def _check_segments(self, wanted: Sequence[Segment]) -> None:
        for segment in wanted:
            if not members.is_segment_name(segment.name):
                raise CheckpointError(f"{segment.name!r} is not the name of a replay segment of this store")
            try:
                members.check_member_size(self.folder / REPLAY, segment)
            except UnreadableError as error:
                raise SegmentUnreadableError(str(error)) from error
            except CheckpointCorruptError as error:
                raise SegmentLostError(f"no checkpoint can refer to a replay segment: {error}") from error

    def _write(self, contents: Mapping[str, bytes], target: Path) -> None:
        filling = self.folder / f".{target.name}.new"
        try:
            self._files.make_folder(filling)
            create_files({filling / name: [content] for name, content in contents.items()}, self._files)
            self._files.sync_folder(filling)
            self._files.replace(filling, target)
        except BaseException:
            # A full disk gets its space back at once, where that works.
            with contextlib.suppress(OSError):
                remove_tree(filling, self._files)
            raise
        self._files.sync_folder(self.folder)

    def _pinned(self, found: Sequence[Entry]) -> list[Path]:
        pinned = []
        for pointer in POINTERS:
            try:
                pinned.append(read_pointer(self.folder, pointer))
            except CheckpointError:
                if pointer == BEST:
                    pinned += [entry.path for entry in _marked_best(found)]
        return pinned

    def _resolve(self, name: str) -> Path:
        found = entries(self.folder)
        if not found:
            raise CheckpointError(f"there is no checkpoint in {self.folder} yet")
        if name == LATEST or (name == BEST and self._has_best(found)):
            return read_pointer(self.folder, name)
        by_name = {str(entry.steps): entry.path for entry in found}
        by_name |= {entry.path.name: entry.path for entry in found}
        if name not in by_name:
            valid = [
                LATEST,
                *([BEST] if self._has_best(found) else []),
                *(entry.path.name for entry in found),
            ]
            raise unknown_name(f"checkpoint of {self.folder}", name, valid)
        return by_name[name]

    def _has_best(self, found: Sequence[Entry]) -> bool:
        return os.path.lexists(self.folder / f"{BEST}.json") or bool(_marked_best(found))

    def _stand_in(self, name: str, fault: CheckpointCorruptError, replay: bool) -> Checkpoint:
        found = entries(self.folder)
        candidates = [*reversed(found)]
        if name == BEST:
            candidates = [*_marked_best(found), *candidates]
        for entry in candidates:
            try:
                checkpoint = read_checkpoint(entry.path, replay=replay)
            except CheckpointError:
                continue
            warnings.warn(f"{fault}; the checkpoint {checkpoint.name} is used instead", stacklevel=3)
            return checkpoint
        raise CheckpointCorruptError(f"{fault}; and no other checkpoint in {self.folder} is good") from fault


def _marked_best(found: Sequence[Entry]) -> list[Entry]:
    """Return the newest checkpoint that was the best when it was written, as a list of one or none."""
    return [entry for entry in found if entry.manifest is not None and entry.manifest.best][-1:]
