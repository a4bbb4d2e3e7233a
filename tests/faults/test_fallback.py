"""Which checkpoint is used when the one that was asked for is damaged, and what the warning says."""

import os
import shutil
import time
import warnings

import numpy as np
import pytest
import torch

from hyperrl.errors import CheckpointCorruptError, CheckpointError, UnknownNameError
from hyperrl.run.store import CheckpointStore
from tests.faults.disk import FailingFiles, UnsyncedFiles


def save(store, count, steps=None, best=False, segments=()):
    return store.save(
        100 * count if steps is None else steps,
        weights={"w": torch.full((3,), float(count))},
        state={"count": count},
        about={},
        best=best,
        segments=segments,
    )


def filled(folder, keep=3, counts=(1, 2, 3, 4), best=()):
    store = CheckpointStore(folder, keep, UnsyncedFiles())
    for count in counts:
        save(store, count, best=count in best)
    return store


def damage(store, count, file="policy.safetensors"):
    path = store.folder / f"step-{100 * count:012d}" / file
    path.write_bytes(path.read_bytes()[:-1])


def count_of(checkpoint):
    assert torch.equal(checkpoint.weights()["w"], torch.full((3,), float(checkpoint.state()["count"])))
    return checkpoint.state()["count"]


def quietly(store, name="latest"):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return count_of(store.load(name))


@pytest.mark.parametrize("damaged", [(4,), (4, 3), (4, 3, 1), (4, 2)])
@pytest.mark.parametrize("file", ["policy.safetensors", "state.json", "manifest.json"])
def test_the_newest_good_one_stands_in_and_the_warning_names_both(tmp_path, damaged, file):
    store = filled(tmp_path, keep=4)
    for count in damaged:
        damage(store, count, file)
    good = max({1, 2, 3, 4} - {*damaged})
    both = f"step-000000000400/{file} is damaged.*; the checkpoint step-000000000{good}00 is used instead"
    with pytest.warns(UserWarning, match=both) as caught:
        assert count_of(store.load()) == good
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_where_all_are_damaged_the_first_fault_is_the_error(tmp_path):
    store = filled(tmp_path)
    for count in (2, 3, 4):
        damage(store, count)
    with pytest.raises(
        CheckpointCorruptError, match=r"step-000000000400/policy.* no other checkpoint in .* is good"
    ):
        store.load()


def test_a_damaged_checkpoint_that_is_named_is_an_error(tmp_path):
    store = filled(tmp_path)
    damage(store, 3)
    for name in ("step-000000000300", "300"):
        with pytest.raises(CheckpointCorruptError, match=r"step-000000000300/policy\.safetensors is damaged"):
            store.load(name)
    assert quietly(store) == 4


def test_a_damaged_best_gives_way_to_the_newest_good_one(tmp_path):
    store = filled(tmp_path, best=(2,))
    assert quietly(store, "best") == 2
    damage(store, 2)
    with pytest.warns(UserWarning, match="step-000000000200/.*; the checkpoint step-000000000400 is used"):
        assert count_of(store.load("best")) == 4


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"\xff\xfe"])
@pytest.mark.parametrize(("pointer", "meant"), [("latest", 4), ("best", 2)])
def test_a_damaged_pointer_is_no_loss(tmp_path, pointer, meant, content):
    store = filled(tmp_path, best=(1, 2))
    path = tmp_path / f"{pointer}.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.warns(
        UserWarning, match=f"{pointer}.json is .*; the checkpoint step-000000000{meant}00 is used"
    ):
        assert count_of(store.load(pointer)) == meant
    # The best one is found again by its own mark, and not removed.
    for count in (5, 6, 7, 8):
        save(store, count)
    assert "step-000000000200" in store.names()


def test_a_checkpoint_that_lost_its_folder(tmp_path):
    store = filled(tmp_path)
    shutil.rmtree(tmp_path / "step-000000000400")
    with pytest.warns(
        UserWarning, match="step-000000000400/manifest.json is missing; .* step-000000000300 is used"
    ):
        assert count_of(store.load()) == 3


def test_damaged_checkpoints_go_first(tmp_path):
    store = filled(tmp_path)
    damage(store, 4, "manifest.json")
    save(store, 5)
    assert store.names() == ["step-000000000200", "step-000000000300", "step-000000000500"]


def test_a_segment_that_is_damaged_costs_the_checkpoints_that_need_it(tmp_path):
    store = CheckpointStore(tmp_path, files=UnsyncedFiles())
    segments = [store.append_segment({"rows": np.full(3, count)}) for count in (0, 1)]
    save(store, 1, segments=segments[:1])
    save(store, 2, segments=segments)
    path = tmp_path / "replay" / segments[1].name
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.warns(UserWarning, match=f"replay/{segments[1].name} is damaged.* step-000000000100 is used"):
        assert count_of(store.load()) == 1


def test_nothing_there_is_an_error_of_its_own(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        store = CheckpointStore(folder)
        assert store.names() == []
        for name in ("latest", "best", "100"):
            with pytest.raises(CheckpointError, match="there is no checkpoint in") as caught:
                store.load(name)
            assert not isinstance(caught.value, CheckpointCorruptError)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be read: Not a directory"):
        CheckpointStore(tmp_path / "file").load()


def test_an_unknown_name_is_answered_with_those_that_there_are(tmp_path):
    store = filled(tmp_path, best=(4,))
    with pytest.raises(
        UnknownNameError, match=r"did you mean 'latest'.*valid: best, latest, step-000000000200"
    ):
        store.load("lastest")
    for name in ("999", "step-000000000999", "", "../x", "step-1", "policy.safetensors", "٣٠٠"):
        with pytest.raises(UnknownNameError, match="unknown checkpoint of"):
            store.load(name)
    with pytest.raises(UnknownNameError, match=r"valid: latest, step-000000000100\)"):
        filled(tmp_path / "other", counts=(1,)).load("best")


def test_a_clock_that_goes_backwards_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: -5.0)
    store = filled(tmp_path, counts=(1, 2, 3))
    for age, name in enumerate(store.names()):
        for path in (tmp_path / name, *(tmp_path / name).iterdir(), tmp_path / "latest.json"):
            os.utime(path, (1000 - age, 1000 - age))
    assert store.names() == [f"step-000000000{count}00" for count in (1, 2, 3)]
    assert quietly(store) == 3
    save(store, 4)
    assert store.names() == [f"step-000000000{count}00" for count in (2, 3, 4)]


def test_a_run_that_went_back_to_an_older_checkpoint_goes_on_from_there(tmp_path):
    store = filled(tmp_path, counts=(1, 2, 3, 9))
    save(store, 4)
    assert store.names() == ["step-000000000300", "step-000000000900", "step-000000000400"]
    assert quietly(store) == 4
    damage(store, 4)
    with pytest.warns(UserWarning, match="step-000000000900 is used instead"):
        assert count_of(store.load()) == 9


def test_after_an_error_past_the_move_the_older_one_stays_latest_until_the_next_save(tmp_path):
    store = filled(tmp_path)
    # The first replacement moves the folder into place, the second one the pointer.
    with pytest.raises(OSError, match="Input/output"):
        save(CheckpointStore(tmp_path, 3, FailingFiles(5, "replace", 1)), 5)
    assert quietly(store) == 4
    save(store, 5)
    assert quietly(store) == 5
    assert store.names() == [f"step-000000000{count}00" for count in (3, 4, 5)]


@pytest.mark.parametrize(
    "name",
    [
        "with some spaces",
        "Läufe und 日本語 😀",
        "quote'\"\\$(x)",
        "x" * 250,
        "-rf",
        "*?[a]",
        "trailing.",
        "new\nline",
    ],
)
def test_folders_of_any_name(tmp_path, name):
    store = filled(tmp_path / name / "ckpt", best=(3,))
    segment = store.append_segment({"rows": np.arange(3)})
    save(store, 5, segments=[segment])
    assert quietly(store) == 5
    assert quietly(store, "best") == 3
    assert store.read_segment(segment)["rows"].tolist() == [0, 1, 2]


def test_a_deep_folder(tmp_path):
    folder = tmp_path
    while len(str(folder)) < 3500:
        folder /= "x" * 200
    assert quietly(filled(folder)) == 4


def test_a_moved_a_relative_and_a_linked_folder(tmp_path, monkeypatch):
    filled(tmp_path / "a")
    os.replace(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("b")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "b", type(tmp_path)("b"), tmp_path / "c"):
        assert quietly(CheckpointStore(folder)) == 4
    monkeypatch.chdir(tmp_path / "b")
    store = CheckpointStore(type(tmp_path)("."), files=UnsyncedFiles())
    save(store, 5)
    assert quietly(CheckpointStore(tmp_path / "c")) == 5
