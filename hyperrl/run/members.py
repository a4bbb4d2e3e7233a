"""The files of a checkpoint: how they are written down in a manifest, and how they are read and verified.

Nothing that is read here is believed before it is verified, no name, size or number; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from hyperrl.errors import CheckpointCorruptError, StateError
from hyperrl.run.reading import UnreadableError, opened
from hyperrl.run.sealed import read_sealed, seal, sha256, unseal
from hyperrl.run.tensors import TENSOR_TYPES, is_dense, plain_copy

WEIGHTS = "policy.safetensors"
STATE_TENSORS = "state.safetensors"
STATE = "state.json"
ABOUT = "checkpoint.json"
MEMBERS = (WEIGHTS, STATE_TENSORS, STATE, ABOUT)
MANIFEST = "manifest.json"

_SEGMENT_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Member:
    """A file as it was written.

    Attributes:
        name: Its plain name, without a folder.
        size: Its bytes.
        sha256: The SHA-256 of its content, 64 hexadecimal digits.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Segment(Member):
    """A file of replay rows in the store's `replay/`, which any number of checkpoints may refer to."""


_M = TypeVar("_M", bound=Member)


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint consists of.

    Attributes:
        serial: Higher than that of every checkpoint written before it; clocks can go backwards.
        best: Whether it was the best of its run when it was written.
        members: Its own files, one for each of `MEMBERS`.
        segments: The replay segments that it refers to, in order.
    """

    serial: int
    best: bool
    members: tuple[Member, ...]
    segments: tuple[Segment, ...]

    def to_bytes(self) -> bytes:
        """Return the content of `manifest.json`."""
        return seal(asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a checkpoint.

        Args:
            folder: The checkpoint.

        Raises:
            CheckpointCorruptError: It is missing, or not what was written.
            CheckpointError: A newer hyperrl wrote it.
        """
        return cls.from_bytes(read_sealed(folder / MANIFEST), folder / MANIFEST)

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> Manifest:
        """Parse the content of a manifest.

        Args:
            data: What was read.
            path: Where, for the message.

        Raises:
            CheckpointCorruptError: It is not what was written.
            CheckpointError: A newer hyperrl wrote it.
        """
        table = unseal(data, path)
        serial, best = table.get("serial"), table.get("best")
        members = _records(Member, table.get("members"), path)
        segments = _records(Segment, table.get("segments"), path)
        if type(serial) is not int or serial < 0 or type(best) is not bool:
            raise CheckpointCorruptError(f"{path} is malformed: it has no valid serial number or mark")
        if [member.name for member in members] != list(MEMBERS):
            raise CheckpointCorruptError(
                f"{path} is malformed: it does not list exactly {', '.join(MEMBERS)}"
            )
        for segment in segments:
            if not is_segment_name(segment.name):
                raise CheckpointCorruptError(
                    f"{path} is malformed: {segment.name!r} is not the name of a replay segment"
                )
        return cls(serial, best, members, segments)


def is_segment_name(name: str) -> bool:
    """Return whether a name is one that the store gives to replay segments; no other is ever opened.

    Args:
        name: Any text.
    """
    return _SEGMENT_NAME.fullmatch(name) is not None


def read_member(folder: Path, member: Member) -> bytes:
    """Read a file that is exactly what was written.

    Args:
        folder: Where it lies.
        member: What it was.

    Raises:
        CheckpointCorruptError: It is missing, cut short or changed.
    """
    path = folder / member.name
    with opened(path) as file:
        _check_size(file, member, path)
        data = file.read(member.size + 1)
    _check_sha256(sha256(data), member, path)
    return data


def verify_member(folder: Path, member: Member) -> None:
    """Verify a file of any size without holding it in memory.

    Args:
        folder: Where it lies.
        member: What it was.

    Raises:
        CheckpointCorruptError: It is missing, cut short or changed.
    """
    path = folder / member.name
    with opened(path) as file:
        _check_size(file, member, path)
        _check_sha256(hashlib.file_digest(file, "sha256").hexdigest(), member, path)


def check_member_size(folder: Path, member: Member) -> None:
    """Check that a file is there and has its size, without reading it.

    Args:
        folder: Where it lies.
        member: What it was.

    Raises:
        CheckpointCorruptError: It is missing or has another size.
    """
    with opened(folder / member.name) as file:
        _check_size(file, member, folder / member.name)


def read_members(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Read all files of a checkpoint, which are exactly what was written, and no other is there.

    Args:
        folder: The checkpoint.

    Returns:
        Its manifest, and the content of every other file by name.

    Raises:
        CheckpointCorruptError: A file is missing, changed or too many.
        CheckpointError: A newer hyperrl wrote it.
    """
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise CheckpointCorruptError(f"{folder} is damaged: it is not a folder")
        found = set(os.listdir(folder))
    except CheckpointCorruptError:
        raise
    except FileNotFoundError as error:
        raise CheckpointCorruptError(f"{folder} is missing") from error
    except OSError as error:
        raise UnreadableError(f"{folder} cannot be read: {error.strerror or error}") from error
    manifest = Manifest.read(folder)
    extra = sorted(found - {MANIFEST, *MEMBERS})
    if extra:
        raise CheckpointCorruptError(f"{folder / extra[0]} does not belong to the checkpoint that it lies in")
    return manifest, {member.name: read_member(folder, member) for member in manifest.members}


def encode_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as the content of a safetensors file.

    Args:
        tensors: Dense tensors by name, on any device; they may share memory.

    Raises:
        StateError: safetensors has no such type of tensor, or no such name.
    """
    types = {*TENSOR_TYPES.values()}
    for name, tensor in tensors.items():
        if type(name) is not str or name == "__metadata__" or not name.isprintable():
            raise StateError(f"a weight cannot be saved under the name {name!r}")
        if not isinstance(tensor, Tensor) or not is_dense(tensor) or tensor.dtype not in types:
            kind = getattr(tensor, "dtype", type(tensor).__qualname__)
            raise StateError(
                f"the weight {name} ({kind}) cannot be saved: only dense tensors of real numbers can"
            )
    return save({name: plain_copy(tensor) for name, tensor in tensors.items()})


def decode_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """Return what `encode_tensors` was given.

    Args:
        data: The content of a safetensors file.
        path: Where it was read, for the message.

    Raises:
        CheckpointCorruptError: It is not such a content.
    """
    try:
        return load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise CheckpointCorruptError(f"{path} is damaged: {error}") from error


def _records(kind: type[_M], rows: Any, path: Path) -> tuple[_M, ...]:
    if not isinstance(rows, list):
        raise CheckpointCorruptError(f"{path} is malformed: it has no list of files")
    return tuple(_record(kind, row, path) for row in rows)


def _record(kind: type[_M], row: Any, path: Path) -> _M:
    if not isinstance(row, dict) or set(row) != {"name", "size", "sha256"}:
        raise CheckpointCorruptError(f"{path} is malformed: a file in it lacks a name, size or checksum")
    name, size, digest = row["name"], row["size"], row["sha256"]
    sound = type(name) is str and type(size) is int and size >= 0 and type(digest) is str
    if not sound or not _SHA256.fullmatch(digest):
        raise CheckpointCorruptError(f"{path} is malformed: the size or checksum of a file is no such thing")
    return kind(name, size, digest)


def _check_size(file: BufferedReader, member: Member, path: Path) -> None:
    size = os.fstat(file.fileno()).st_size
    if size != member.size:
        raise CheckpointCorruptError(f"{path} is damaged: it has {size} bytes instead of {member.size}")


def _check_sha256(found: str, member: Member, path: Path) -> None:
    if found != member.sha256:
        raise CheckpointCorruptError(f"{path} is damaged: its content is not what was written")
