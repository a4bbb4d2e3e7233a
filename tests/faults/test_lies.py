"""Checkpoints whose files are too many, exchanged or forged, checksums and all: each is refused by name."""

import hashlib
import json
import os
import shutil
import struct

import pytest
import torch
from safetensors.torch import save as to_safetensors

from hyperrl.errors import CheckpointCorruptError
from tests.faults.damaged_stores import (
    NAME,
    about,
    copied,
    fallen_back,
    filled,
    forged,
    resealed,
)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("origin") / "ckpt")


@pytest.fixture
def store(origin, tmp_path):
    return copied(origin, tmp_path / "ckpt")


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
