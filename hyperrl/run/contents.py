"""What the files of one checkpoint hold, as it is written and as it is read back and verified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperrl.errors import CheckpointCorruptError, StateError
from hyperrl.run import members, sealed
from hyperrl.run.members import Segment
from hyperrl.run.packing import pack
from hyperrl.run.rotation import REPLAY, steps_of
from hyperrl.run.unpacking import unpack


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and verified; later changes of its files do not matter.

    Attributes:
        path: Its folder.
        name: The folder's name.
        steps: Environment steps taken when it was written.
        about: What was said about it.
        segments: The replay segments that belong to it, in order.
    """

    path: Path
    name: str
    steps: int
    about: dict[str, Any]
    segments: tuple[Segment, ...]
    _contents: Mapping[str, bytes] = field(repr=False, compare=False)

    def weights(self) -> dict[str, Tensor]:
        """Return the policy's weights by name, on the CPU, as new tensors.

        Raises:
            CheckpointCorruptError: What was hashed was no such file in the first place.
        """
        return members.decode_tensors(self._contents[members.WEIGHTS], self.path / members.WEIGHTS)

    def state(self) -> Any:
        """Return the rest of the state as it was given to `CheckpointStore.save`, a new copy each time.

        Raises:
            CheckpointCorruptError: What was hashed was no such state in the first place.
        """
        path = self.path / members.STATE
        table = sealed.parse_json(self._contents[members.STATE], path)
        tensors = members.decode_tensors(
            self._contents[members.STATE_TENSORS], self.path / members.STATE_TENSORS
        )
        if "state" not in table:
            raise CheckpointCorruptError(f"{path} is malformed: it holds no state")
        try:
            return unpack(table["state"], tensors)
        except CheckpointCorruptError as error:
            raise CheckpointCorruptError(f"{path} is malformed: {error}") from error


def read_checkpoint(path: Path, *, replay: bool) -> Checkpoint:
    """Read a checkpoint and verify all that belongs to it.

    Args:
        path: Its folder in the store.
        replay: Whether to verify the content of the replay segments, too, rather than their sizes alone.

    Raises:
        CheckpointCorruptError: It is not what was written.
        CheckpointError: A newer hyperrl wrote it.
    """
    manifest, contents = members.read_members(path)
    table = sealed.parse_json(contents[members.ABOUT], path / members.ABOUT)
    sealed.check_format(table, path / members.ABOUT)
    steps, about = table.get("steps"), table.get("about")
    if type(steps) is not int or steps != steps_of(path.name) or not isinstance(about, dict):
        raise CheckpointCorruptError(f"{path / members.ABOUT} is of {steps} steps, other than its folder")
    checkpoint = Checkpoint(path, path.name, steps, about, manifest.segments, contents)
    checkpoint.weights()
    checkpoint.state()
    check = members.verify_member if replay else members.check_member_size
    for segment in manifest.segments:
        check(path.parent / REPLAY, segment)
    return checkpoint


def encode_checkpoint(
    steps: int, weights: Mapping[str, Tensor], state: Any, about: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the content of every member by name, in the order of the manifest.

    Args:
        steps: Environment steps taken so far.
        weights: The policy's weights by name.
        state: Everything else, a tree for `hyperrl.run.packing.pack`.
        about: What to say of it, of plain JSON values.

    Raises:
        StateError: A part of it cannot be saved.
    """
    structure, tensors = pack(state)
    table = {"format": sealed.FORMAT, "steps": steps, "about": dict(about)}
    try:
        text = json.dumps(table, indent=2, allow_nan=False)
        faithful = json.loads(text) == table
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"what is said about a checkpoint must be plain JSON values: {error}") from error
    if not faithful:
        raise StateError(f"what is said about a checkpoint must be plain JSON values, not {about!r}")
    return {
        members.WEIGHTS: members.encode_tensors(weights),
        members.STATE_TENSORS: members.encode_tensors(tensors),
        members.STATE: json.dumps({"state": structure}).encode("ascii"),
        members.ABOUT: (text + "\n").encode("ascii"),
    }
