"""A disk that is full, broken or read-only, at every single write of a save."""

import errno
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from hyperrl.run.files import Files
from hyperrl.run.store import CheckpointStore
from tests.faults.crash import KEEP, all_sound, forked, leftovers, loaded, save
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


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_full_disk_gets_back_what_a_failed_save_took(tmp_path, origin, operation):
    place = tmp_path / "ckpt"
    shutil.copytree(origin, place)
    shutil.rmtree(place / ".step-000000000300.new")
    before = {path.relative_to(place) for path in place.rglob("*")}
    store = CheckpointStore(place, KEEP, FailingFiles(errno.ENOSPC, operation, lasting=True))
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            save(store, NEW)
    assert {path.relative_to(place) for path in place.rglob("*")} == before


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


@pytest.fixture
def readable_by_all(tmp_path):
    folder = tmp_path / "ckpt"
    for count in range(3):
        save(CheckpointStore(folder, KEEP, UnsyncedFiles()), count)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def as_nobody(folder, work):
    """Do some work beside `folder` in a child for which permissions count, even if the tests run as root."""

    def child():
        # From a working directory, the private folders above it need not be crossed.
        folder.parent.chmod(0o755)
        os.chdir(folder.parent)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
        return work(CheckpointStore(Path(folder.name), KEEP))

    return forked(child)


def test_a_read_only_folder_can_be_loaded_and_not_saved_to(readable_by_all):
    before = {path: path.stat().st_mtime_ns for path in readable_by_all.rglob("*")}

    def work(store):
        if loaded(store) != 2:
            return 1
        try:
            save(store, 3)
        except PermissionError:
            return 0 if loaded(store) == 2 else 2
        return 3

    assert as_nobody(readable_by_all, work) == 0
    assert {path: path.stat().st_mtime_ns for path in readable_by_all.rglob("*")} == before


def test_a_checkpoint_that_may_not_be_read_is_named_and_neither_removed_nor_used(tmp_path):
    folder = tmp_path / "ckpt"
    for count in range(4):
        save(CheckpointStore(folder, KEEP, UnsyncedFiles()), count)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    forbidden = folder / "step-000000000100" / "manifest.json"
    forbidden.chmod(0)
    segments = sorted(path.name for path in (folder / "replay").iterdir())

    def work(store):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            count = store.load().about["count"]
            for later in (4, 6, 8):
                save(store, later)
        if count == 3 or "cannot be read: Permission denied" not in str(caught[0].message):
            return 1
        kept = {path.name for path in (store.folder / "replay").iterdir()}
        return 0 if forbidden.parent.name in store.names() and kept >= {*segments} else 2

    assert as_nobody(folder, work) == 0
    forbidden.chmod(0o600)
    CheckpointStore(folder).verify("100")
