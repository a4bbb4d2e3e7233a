"""Segments of a replay buffer: files of rows, written once, shared by all checkpoints that need them.

A segment is a safetensors file. It is hashed and written array by array, straight from the memory of the
buffer, because the first segment of a full buffer can have gigabytes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from hyperrl.errors import CheckpointCorruptError, StateError
from hyperrl.run.files import FILES, Files, make_folders, write_parts
from hyperrl.run.members import Segment, is_segment_name, read_member
from hyperrl.run.reading import UnreadableError

# NumPy's name of a type and that of safetensors.
_TYPES = {
    np.dtype(ours): theirs
    for ours, theirs in {
        "bool": "BOOL",
        "uint8": "U8",
        "uint16": "U16",
        "uint32": "U32",
        "uint64": "U64",
        "int8": "I8",
        "int16": "I16",
        "int32": "I32",
        "int64": "I64",
        "float16": "F16",
        "float32": "F32",
        "float64": "F64",
    }.items()
}


class SegmentLostError(CheckpointCorruptError):
    """A segment that a checkpoint is to refer to is missing, or is not what was written."""


class SegmentUnreadableError(UnreadableError):
    """The system refuses to read a segment that a checkpoint is to refer to; it may be as good as ever."""


def write_segment(folder: Path, arrays: Mapping[str, np.ndarray], files: Files = FILES) -> Segment:
    """Write arrays into a new file, which appears when it is complete and on the disk.

    Args:
        folder: Where it shall lie; made if missing.
        arrays: Arrays of real numbers or truth values, of any shapes, by name.
        files: What writes.

    Returns:
        The file's name, size and SHA-256.

    Raises:
        StateError: An array has another type.
        OSError: It cannot be written.
    """
    parts = _parts(arrays)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    make_folders(folder, files)
    # From the system's own source: those of Python and NumPy belong to the run.
    path = folder / f"{secrets.token_hex(16)}.safetensors"
    write_parts(path, parts, files)
    return Segment(path.name, sum(map(len, parts)), digest.hexdigest())


def read_segment(folder: Path, segment: Segment) -> dict[str, np.ndarray]:
    """Read and verify a segment.

    Args:
        folder: Where it lies.
        segment: What `write_segment` returned.

    Returns:
        The arrays, in memory of their own.

    Raises:
        CheckpointCorruptError: It is missing or not what was written.
    """
    path = folder / segment.name
    if not is_segment_name(segment.name):
        raise CheckpointCorruptError(f"{segment.name!r} is not the name of a replay segment")
    data = read_member(folder, segment)
    try:
        arrays: dict[str, np.ndarray] = load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise CheckpointCorruptError(f"{path} is damaged: {error}") from error
    return arrays


def _parts(arrays: Mapping[str, np.ndarray]) -> list[bytes | memoryview]:
    """Return the content of a safetensors file: the header's length, the header, and every array's bytes."""
    header: dict[str, Any] = {}
    parts: list[bytes | memoryview] = []
    start = 0
    # Larger items first keep every array aligned.
    for name in sorted(arrays, key=lambda name: (-np.asarray(arrays[name]).dtype.itemsize, name)):
        array = np.asarray(arrays[name])
        if array.dtype not in _TYPES or not array.dtype.isnative or name == "__metadata__":
            raise StateError(f"the replay array {name!r} cannot be saved: it is of type {array.dtype}")
        end = start + array.nbytes
        header[name] = {
            "dtype": _TYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        parts.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        start = end
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *parts]
