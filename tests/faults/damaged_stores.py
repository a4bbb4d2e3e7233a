"""A store of three checkpoints, ways to damage or forge its files, and what has to be said then."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from hyperrl.errors import CheckpointCorruptError
from hyperrl.run.members import MEMBERS
from hyperrl.run.sealed import seal
from hyperrl.run.store import CheckpointStore
from tests.faults.disk import UnsyncedFiles

NAME = "step-000000000300"
FILES = ("policy.safetensors", "state.safetensors", "state.json", "checkpoint.json", "manifest.json")
# Their places in the store, by what the tests call them.
PLACES = {
    **{name: f"{NAME}/{name}" for name in FILES},
    "segment": "replay/{segment}",
    "latest.json": "latest.json",
    "best.json": "best.json",
}


def contents(count):
    return {
        "weights": {"actor.0.weight": torch.full((3, 2), count / 7), "actor.0.bias": torch.full((3,), count)},
        "state": {"count": count, "rng": (2**100, np.arange(5) + count), "moments": [torch.ones(4) * count]},
        "about": {"count": count},
    }


def filled(folder):
    """Write three checkpoints, the last of which is the best, and return the folder."""
    store = CheckpointStore(folder, files=UnsyncedFiles())
    segments = []
    for count in (1, 2, 3):
        segments.append(store.append_segment({"rows": np.full((4, 2), count, np.float32)}))
        store.save(100 * count, **contents(count), segments=segments, best=count == 3)
    return folder


def copied(origin, folder):
    """Return a store that is a copy of another one."""
    shutil.copytree(origin, folder)
    return CheckpointStore(folder, files=UnsyncedFiles())


def place_of(store, file):
    # The last segment belongs to the newest checkpoint alone.
    segment = store.load().segments[-1].name
    return store.folder / PLACES[file].format(segment=segment)


def named(file):
    return file.removesuffix(".json") if file in ("latest.json", "best.json") else NAME


def refused(store, file):
    """Check that a damaged file is refused: verifying and loading by name say so, and say where."""
    where = "replay" if file == "segment" else file
    with pytest.raises(CheckpointCorruptError, match=where):
        store.verify(named(file))
    if named(file) == NAME:
        with pytest.raises(CheckpointCorruptError, match=where):
            store.load(NAME)


def fallen_back(store, name, count):
    """Check that another checkpoint stands in, with a warning, and with its own content."""
    with pytest.warns(
        UserWarning, match=f"; the checkpoint step-000000000{count}00 is used instead"
    ) as caught:
        checkpoint = store.load(name)
    assert len(caught) == 1
    assert checkpoint.state()["count"] == count
    assert torch.equal(
        checkpoint.weights()["actor.0.bias"], contents(count)["weights"]["actor.0.bias"].float()
    )
    return str(caught[0].message)


def manifest_of(store):
    path = store.folder / NAME / "manifest.json"
    table = json.loads(path.read_text())
    del table["sha256"]
    return path, table


def resealed(store, change):
    """Change the manifest so that its own checksum fits."""
    path, table = manifest_of(store)
    change(table)
    path.write_bytes(seal(table))


def forged(store, name, data):
    """Change a member so that size and checksum in the manifest fit."""
    (store.folder / NAME / name).write_bytes(data)

    def change(table):
        table["members"][MEMBERS.index(name)] |= {
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    resealed(store, change)


def about(**changes):
    return json.dumps({"format": 1, "steps": 300, "about": {}} | changes).encode()
