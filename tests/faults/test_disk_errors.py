"""A disk that is full, broken or read-only, at every single write of a save."""

import errno
import os
import shutil

import numpy as np
import pytest
import torch

from hyperrl.run.files import Files
from hyperrl.run.store import CheckpointStore
from tests.faults.crash import KEEP, all_sound, crashes, leftovers, loaded, save
from tests.faults.disk import OPERATIONS, FailingFiles, UnsyncedFiles, WatchedFiles

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT)
OLD, NEW = 5, 6


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """Six checkpoints and what a killed save left behind; the next one is the best, and others have to go."""
    folder = tmp_path_factory.mktemp("origin") / "ckpt"
    for count in range(NEW):
        save(CheckpointStore(folder, KEEP, UnsyncedFiles()), count)
    half = folder / ".step-000000000300.new"
    half.mkdir()
    (half / "policy.safetensors").write_bytes(b"half")
    return folder


@pytest.fixture(scope="module")
def sites(origin, tmp_path_factory):
    """How often a save does each operation."""
    files = WatchedFiles()
    place = tmp_path_factory.mktemp("sites") / "ckpt"
    shutil.copytree(origin, place)
    save(CheckpointStore(place, KEEP, files), NEW)
    return {operation: files.log.count(operation) for operation in OPERATIONS}


def test_the_double_knows_every_write_and_a_save_does_all_of_them(sites):
    assert set(OPERATIONS) == {name for name in dir(Files) if not name.startswith("_")}
    assert min(sites.values()) >= 1
    assert sum(sites.values()) > 40


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
def test_an_error_at_any_write_reaches_the_caller_and_costs_nothing(
    tmp_path, origin, sites, code, operation, lasting
):
    for occurrence in range(sites[operation]):
        place = tmp_path / str(occurrence)
        shutil.copytree(origin, place)
        files = FailingFiles(code, operation, occurrence, lasting)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            save(CheckpointStore(place, KEEP, files), NEW)
        assert files.failed >= 1
        assert caught.value.errno == code
        store = CheckpointStore(place, KEEP, UnsyncedFiles())
        assert loaded(store) in (OLD, NEW)
        all_sound(store)
        save(store, 12)
        assert loaded(store) == 12
        assert leftovers(store) == []


@pytest.mark.parametrize("operation", ["open", "write", "sync", "replace", "sync_folder"])
def test_before_the_pointer_moves_an_error_leaves_the_older_one_latest(tmp_path, origin, operation):
    for occurrence in (0, 1):
        place = tmp_path / str(occurrence)
        shutil.copytree(origin, place)
        with pytest.raises(OSError, match="No space left"):
            save(CheckpointStore(place, KEEP, FailingFiles(errno.ENOSPC, operation, occurrence)), NEW)
        assert loaded(CheckpointStore(place)) == OLD


@pytest.mark.parametrize("occurrence", range(6))
@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_full_disk_gets_back_what_a_failed_save_took(tmp_path, origin, operation, occurrence):
    place = tmp_path / "ckpt"
    shutil.copytree(origin, place)
    shutil.rmtree(place / ".step-000000000300.new")
    before = {path.relative_to(place) for path in place.rglob("*")}
    store = CheckpointStore(place, KEEP, FailingFiles(errno.ENOSPC, operation, occurrence, lasting=True))
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            store.save(300, weights={"w": torch.ones(9)}, state=None, about={})
    after = {path.relative_to(place) for path in place.rglob("*")}
    # The sixth file is the pointer: the checkpoint itself is complete by then.
    complete = {path for path in after if path.parts[0] == "step-000000000300"}
    assert after - complete == before
    assert len(complete) == (6 if occurrence == 5 else 0)


def test_a_failed_segment_is_written_again_by_the_next_save(tmp_path):
    files = FailingFiles(errno.ENOSPC, "write")
    store = CheckpointStore(tmp_path / "ckpt", KEEP, files)
    with pytest.raises(OSError, match="No space left"):
        save(store, 0)
    assert list((tmp_path / "ckpt" / "replay").iterdir()) == []
    save(store, 0)
    assert loaded(store) == 0


def test_a_segment_that_was_written_for_a_failed_save_can_be_used_by_the_next(tmp_path):
    store = CheckpointStore(tmp_path / "ckpt", KEEP, UnsyncedFiles())
    save(store, 0)
    segment = store.append_segment({"rows": np.full((3, 2), 1, np.float32)})
    save(store, 2)
    parts = {"weights": {}, "state": None, "about": {}}
    store.save(300, **parts, segments=[segment])
    assert (store.read_segment(store.load().segments[0])["rows"] == 1).all()
    store.save(400, **parts)
    store.save(500, **parts)
    store.save(600, **parts)
    assert segment.name not in {path.name for path in (tmp_path / "ckpt" / "replay").iterdir()}


@pytest.fixture(scope="module")
def unprivileged(tmp_path_factory):
    return crashes("unprivileged", tmp_path_factory.mktemp("unprivileged"))


def test_a_read_only_folder_can_be_loaded_and_not_saved_to(unprivileged):
    read_only = unprivileged[0]
    assert read_only == {"status": errno.EACCES, "loaded": 2, "unchanged": True}


def test_a_checkpoint_that_may_not_be_read_is_named_and_neither_used_nor_removed(unprivileged):
    forbidden = unprivileged[1]
    assert forbidden["status"] == 0
    assert "step-000000000100/manifest.json cannot be read: Permission denied" in forbidden["warning"]
    assert forbidden["warning"].endswith("the checkpoint step-000000000000 is used instead")
    assert "step-000000000100" in forbidden["names"]
    assert forbidden["segments_lost"] == 0
    assert forbidden["readable_again"] == 3
