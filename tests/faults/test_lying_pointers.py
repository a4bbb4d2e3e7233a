"""Pointers that lie, and formats of a newer hyperrl."""

import os

import pytest

from hyperrl.errors import CheckpointCorruptError, CheckpointError
from hyperrl.run.sealed import seal
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
