"""Files that are cut short, changed or missing: each is refused by name, and none is used."""

import hashlib
import json
import random
import struct
import warnings

import pytest
import torch

from hyperrl.errors import CheckpointCorruptError
from tests.faults.damaged_stores import (
    NAME,
    PLACES,
    copied,
    fallen_back,
    filled,
    named,
    place_of,
    refused,
)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("origin") / "ckpt")


@pytest.fixture
def store(origin, tmp_path):
    return copied(origin, tmp_path / "ckpt")


def boundaries(data, file):
    """Return where the parts of a file end."""
    if not file.endswith(".safetensors") and file != "segment":
        return [index + 1 for index, byte in enumerate(data) if byte in b"{}[],:"]
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return [8, 8 + length, *(8 + length + end for entry in header.values() for end in entry["data_offsets"])]


@pytest.mark.parametrize("file", PLACES)
def test_a_file_cut_short_anywhere_is_refused(store, file):
    path = place_of(store, file)
    whole = path.read_bytes()
    cuts = (
        {len(whole) * percent // 100 for percent in range(100)}
        | {*boundaries(whole, file)}
        | {len(whole) - 1}
    )
    cuts.discard(len(whole))
    assert len(cuts) > 60
    for size in cuts:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointCorruptError):
            store.verify(named(file))
    refused(store, file)
    # A cut pointer means what it meant, and a cut checkpoint is not used.
    fallen_back(store, "best" if file == "best.json" else "latest", 3 if named(file) != NAME else 2)
    path.write_bytes(whole + b"\n")
    refused(store, file)
    path.write_bytes(whole)
    store.verify(named(file))


@pytest.mark.parametrize("flips", [130, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("file", PLACES)
def test_a_single_bit_flipped_anywhere_is_refused(store, file, flips):
    path = place_of(store, file)
    whole = path.read_bytes()
    bits = range(8 * len(whole))
    chosen = bits if len(bits) <= flips else random.Random(0).sample(bits, flips)
    for bit in chosen:
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointCorruptError):
            store.verify(named(file))
    assert len(chosen) >= min(flips, 8 * len(whole)) >= 130
    refused(store, file)
    fallen_back(store, "best" if file == "best.json" else "latest", 3 if named(file) != NAME else 2)


def test_a_flipped_bit_never_gives_other_weights(store):
    good = {name: store.load(name).weights() for name in store.names()}
    generator = random.Random(1)
    for file in PLACES:
        path = place_of(store, file)
        whole = path.read_bytes()
        for _ in range(5):
            changed = bytearray(whole)
            bit = generator.randrange(8 * len(whole))
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            with warnings.catch_warnings(record=True):
                warnings.simplefilter("always")
                for name in ("latest", "best"):
                    checkpoint = store.load(name)
                    for key, tensor in checkpoint.weights().items():
                        assert torch.equal(tensor, good[checkpoint.name][key])
        path.write_bytes(whole)


def test_a_segment_is_verified_when_it_is_read(store):
    checkpoint = store.load(replay=False)
    path = store.folder / "replay" / checkpoint.segments[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    # Without the replay buffer only sizes count; its rows never come unverified.
    assert store.load(replay=False) == checkpoint
    with pytest.raises(CheckpointCorruptError, match="its content is not what was written"):
        store.read_segment(checkpoint.segments[0])
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointCorruptError, match="bytes instead of"):
        store.verify(NAME, replay=False)


def test_rows_that_are_no_tensors_are_refused(store):
    segment = store.load().segments[0]
    path = store.folder / "replay" / segment.name
    path.write_bytes(b"no tensors")
    forgery = type(segment)(segment.name, 10, hashlib.sha256(b"no tensors").hexdigest())
    with pytest.raises(CheckpointCorruptError, match="is damaged"):
        store.read_segment(forgery)
    with pytest.raises(CheckpointCorruptError, match="is not the name of a replay segment"):
        store.read_segment(type(segment)("../latest.json", 10, "0" * 64))
