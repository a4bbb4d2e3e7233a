"""Files that are cut short, changed, missing, too many, or lie: each is refused by name, and none is used."""

import hashlib
import json
import os
import random
import shutil
import struct
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save as to_safetensors

from hyperrl.errors import CheckpointCorruptError, CheckpointError
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


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("origin") / "ckpt"
    store = CheckpointStore(folder, files=UnsyncedFiles())
    segments = []
    for count in (1, 2, 3):
        segments.append(store.append_segment({"rows": np.full((4, 2), count, np.float32)}))
        store.save(100 * count, **contents(count), segments=segments, best=count == 3)
    return folder


@pytest.fixture
def store(origin, tmp_path):
    shutil.copytree(origin, tmp_path / "ckpt")
    return CheckpointStore(tmp_path / "ckpt", files=UnsyncedFiles())


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


def state(structure):
    return json.dumps({"state": structure}).encode()


def replaced_by(store, name, make):
    path = store.folder / NAME / name
    moved = store.folder.parent / "moved"
    os.replace(path, moved)
    make(path, moved)


def segment_named(store, name):
    # What it names is there, whole and of the right size and checksum.
    target = store.folder / "replay" / name
    if not target.exists():
        target.write_bytes(b"rows")
    data = target.read_bytes()
    entry = {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    resealed(store, lambda table: table["segments"].append(entry))


def about(**changes):
    return json.dumps({"format": 1, "steps": 300, "about": {}} | changes).encode()


def swap(store):
    folder = store.folder / NAME
    os.replace(folder / "policy.safetensors", folder / "x")
    os.replace(folder / "state.safetensors", folder / "policy.safetensors")
    os.replace(folder / "x", folder / "state.safetensors")


def of_another_step(store):
    shutil.rmtree(store.folder / NAME)
    shutil.copytree(store.folder / "step-000000000200", store.folder / NAME)


TOO_DEEP = b'{"state": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LIES = {
    "missing weights": (lambda s: (s.folder / NAME / "policy.safetensors").unlink(), "is missing"),
    "missing manifest": (lambda s: (s.folder / NAME / "manifest.json").unlink(), "manifest.json is missing"),
    "missing state": (lambda s: (s.folder / NAME / "state.json").unlink(), "state.json is missing"),
    "extra file": (lambda s: (s.folder / NAME / "a.pkl").write_bytes(b""), "a.pkl does not belong"),
    "extra folder": (lambda s: (s.folder / NAME / "sub").mkdir(), "sub does not belong"),
    "renamed member": (
        lambda s: os.replace(s.folder / NAME / "policy.safetensors", s.folder / NAME / "weights.safetensors"),
        "does not belong",
    ),
    "members exchanged": (swap, "policy.safetensors is damaged"),
    "of another step": (of_another_step, "is of 200 steps"),
    "a lying size": (
        lambda s: resealed(s, lambda t: t["members"][0].update(size=7)),
        "policy.safetensors is damaged: it has .* bytes instead of 7",
    ),
    "a lying checksum": (
        lambda s: resealed(s, lambda t: t["members"][0].update(sha256="0" * 64)),
        "policy.safetensors is damaged: its content is not what was written",
    ),
    "a negative size": (lambda s: resealed(s, lambda t: t["members"][0].update(size=-1)), "malformed"),
    "a size that is text": (lambda s: resealed(s, lambda t: t["members"][0].update(size="9")), "malformed"),
    "a size that is true": (lambda s: resealed(s, lambda t: t["members"][0].update(size=True)), "malformed"),
    "a checksum in capitals": (
        lambda s: resealed(s, lambda t: t["members"][0].update(sha256="A" * 64)),
        "malformed",
    ),
    "a member too few": (lambda s: resealed(s, lambda t: t["members"].pop()), "does not list exactly"),
    "a member twice": (
        lambda s: resealed(s, lambda t: t["members"].append(t["members"][0])),
        "does not list exactly",
    ),
    "a member outside": (
        lambda s: resealed(
            s, lambda t: t["members"][0].update(name="../step-000000000200/policy.safetensors")
        ),
        "does not list exactly",
    ),
    "no members": (lambda s: resealed(s, lambda t: t.update(members={})), "has no list of files"),
    "an entry of a member too many": (
        lambda s: resealed(s, lambda t: t["members"][0].update(run="rm")),
        "lacks a name, size or checksum",
    ),
    "no serial number": (lambda s: resealed(s, lambda t: t.pop("serial")), "serial number"),
    "no valid format": (lambda s: resealed(s, lambda t: t.update(format="1")), "format number"),
    "a segment by traversal": (lambda s: segment_named(s, "../latest.json"), "is not the name of a replay"),
    "a segment by its full path": (lambda s: segment_named(s, "/etc/passwd"), "is not the name of a replay"),
    "a segment of another name": (lambda s: segment_named(s, "rows.npy"), "is not the name of a replay"),
    "a segment with a zero byte": (
        lambda s: resealed(s, lambda t: t["segments"][0].update(name="a\0b")),
        "is not the name of a replay",
    ),
    "a missing segment": (
        lambda s: (s.folder / "replay" / s.load().segments[-1].name).unlink(),
        "replay/.* is missing",
    ),
    "weights that are no tensors": (
        lambda s: forged(s, "policy.safetensors", b"\x80\x04."),
        "policy.safetensors is damaged",
    ),
    "weights with a header beyond the end": (
        lambda s: forged(s, "policy.safetensors", struct.pack("<Q", 2**62) + b"{}"),
        "policy.safetensors is damaged",
    ),
    "weights that overlap": (
        lambda s: forged(
            s,
            "policy.safetensors",
            struct.pack("<Q", 110)
            + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],'.ljust(
                70
            )
            + b'"data_offsets":[0,4]}}'.ljust(40)
            + bytes(4),
        ),
        "policy.safetensors is damaged",
    ),
    "state that nests too deeply": (lambda s: forged(s, "state.json", TOO_DEEP), "nests too deeply"),
    "state that nests a little too deeply": (
        lambda s: forged(s, "state.json", b'{"state": ' + b"[" * 200 + b"]" * 200 + b"}"),
        "nests deeper than",
    ),
    "a giant number": (
        lambda s: forged(s, "state.json", b'{"state": ' + b"9" * 100_000 + b"}"),
        "state.json is damaged",
    ),
    "not a number": (lambda s: forged(s, "state.json", b'{"state": NaN}'), "NaN is no JSON number"),
    "state that is a list": (lambda s: forged(s, "state.json", b"[]"), "does not hold a JSON object"),
    "no state at all": (lambda s: forged(s, "state.json", b"{}"), "holds no state"),
    "state that is not UTF-8": (
        lambda s: forged(s, "state.json", b'{"state": "\xff"}'),
        "state.json is damaged",
    ),
    "a tag that nobody knows": (
        lambda s: forged(s, "state.json", state({"pickle": "gASVAAAA"})),
        "there is no tag 'pickle'",
    ),
    "a tensor that is not there": (
        lambda s: forged(s, "state.json", state({"tensor": ["9.x", "float32", [1]]})),
        "state.json is malformed",
    ),
    "tensors that nobody asks for": (lambda s: forged(s, "state.json", state(None)), "of no use"),
    "another tensor": (
        lambda s: forged(s, "state.safetensors", to_safetensors({"0.x": torch.zeros(1)})),
        "state.json is malformed",
    ),
    "steps that are text": (lambda s: forged(s, "checkpoint.json", about(steps="300")), "is of 300 steps"),
    "about nothing": (lambda s: forged(s, "checkpoint.json", about(about=None)), "checkpoint.json"),
    "a link to another file": (
        lambda s: replaced_by(s, "policy.safetensors", lambda path, moved: path.symlink_to(moved)),
        "is a symbolic link",
    ),
    "a link to a file beside it": (
        lambda s: replaced_by(s, "policy.safetensors", lambda path, moved: path.symlink_to("state.json")),
        "is a symbolic link",
    ),
    "a link to nothing": (
        lambda s: replaced_by(s, "manifest.json", lambda path, moved: path.symlink_to("nowhere")),
        "is a symbolic link",
    ),
    "a pipe": (
        lambda s: replaced_by(s, "policy.safetensors", lambda path, moved: os.mkfifo(path)),
        "is not an ordinary file",
    ),
    "a folder": (
        lambda s: replaced_by(s, "state.json", lambda path, moved: path.mkdir()),
        "state.json cannot be read|state.json is damaged",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_checkpoint_that_is_not_what_was_written_is_refused(store, lie):
    tamper, message = LIES[lie]
    tamper(store)
    for function in (store.verify, store.load):
        with pytest.raises(CheckpointCorruptError, match=message) as caught:
            function(NAME)
        assert "\n" not in str(caught.value)
    fallen_back(store, "latest", 2)


def test_a_folder_that_is_a_link_is_refused(store, tmp_path):
    os.replace(store.folder / NAME, tmp_path / "elsewhere")
    (store.folder / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointCorruptError, match="is not a folder"):
        store.load(NAME)
    fallen_back(store, "latest", 2)


def test_a_file_in_place_of_a_checkpoint_is_refused(store):
    shutil.rmtree(store.folder / NAME)
    (store.folder / NAME).write_bytes(b"")
    with pytest.raises(CheckpointCorruptError, match="is not a folder"):
        store.load(NAME)
    fallen_back(store, "latest", 2)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda s: resealed(s, lambda t: t.update(format=2)),
        lambda s: forged(s, "checkpoint.json", about(format=7)),
    ],
    ids=["manifest", "checkpoint"],
)
def test_a_newer_format_is_refused_in_one_sentence_by_name(store, tamper):
    tamper(store)
    with pytest.raises(
        CheckpointError, match=r"format \d of a newer hyperrl, this one reads up to 1: upgrade"
    ) as caught:
        store.load(NAME)
    assert not isinstance(caught.value, CheckpointCorruptError)


def test_a_newer_pointer_is_refused_and_nothing_older_is_used_in_silence(store):
    (store.folder / "latest.json").write_bytes(seal({"format": 2, "checkpoint": NAME, "manifest": "0" * 64}))
    with pytest.raises(CheckpointError, match="upgrade hyperrl"):
        store.load()


@pytest.mark.parametrize(
    "table",
    [
        {"checkpoint": "../../etc", "manifest": "0" * 64},
        {"checkpoint": "/etc", "manifest": "0" * 64},
        {"checkpoint": 5, "manifest": "0" * 64},
        {"manifest": "0" * 64},
        {"checkpoint": NAME, "manifest": "0" * 64},
        {"checkpoint": NAME},
        {"checkpoint": "step-000000000999", "manifest": "0" * 64},
    ],
)
def test_a_pointer_that_lies_is_refused(store, table):
    (store.folder / "latest.json").write_bytes(seal(table))
    with pytest.raises(CheckpointCorruptError):
        store.verify("latest")
    fallen_back(store, "latest", 3)


def test_a_pointer_that_is_a_link_or_too_large_is_refused(store, tmp_path, monkeypatch):
    pointer = store.folder / "latest.json"
    os.replace(pointer, tmp_path / "pointer")
    pointer.symlink_to(tmp_path / "pointer")
    with pytest.raises(CheckpointCorruptError, match="is a symbolic link"):
        store.verify("latest")
    os.replace(tmp_path / "pointer", pointer)
    store.verify("latest")
    monkeypatch.setattr("hyperrl.run.sealed._AT_MOST", 20)
    with pytest.raises(CheckpointCorruptError, match="is larger than 20 bytes"):
        store.verify("latest")


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
