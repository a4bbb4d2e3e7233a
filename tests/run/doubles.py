"""Stand-ins for what lies on a disk."""

from __future__ import annotations

import json

import numpy as np

from hyperrl.run.members import Segment
from hyperrl.run.packing import pack
from hyperrl.run.unpacking import unpack


def through_a_file(tree):
    """Return a tree as a checkpoint's files give it back."""
    structure, tensors = pack(tree)
    return unpack(json.loads(json.dumps(structure)), tensors)


class MemoryStore:
    """Keeps segments in memory, and counts and refuses as a test wishes."""

    def __init__(self):
        self.segments = {}
        self.rows_written = 0
        self.bytes_written = 0
        self.refuse_after = None

    def append_segment(self, arrays):
        if self.refuse_after == 0:
            raise OSError(28, "No space left on device")
        if self.refuse_after is not None:
            self.refuse_after -= 1
        copied = {name: np.array(array) for name, array in arrays.items()}
        segment = Segment(
            f"{len(self.segments)}.safetensors", sum(a.nbytes for a in copied.values()), "0" * 64
        )
        self.segments[segment.name] = copied
        self.rows_written += len(copied.get("actions", ()))
        self.bytes_written += segment.size
        return segment

    def read_segment(self, segment):
        return dict(self.segments[segment.name])
