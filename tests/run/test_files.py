import errno
import json
import os
import stat

import pytest

from hyperrl.run.files import (
    FILES,
    Files,
    create_files,
    make_folders,
    remove_tree,
    replaced_folder,
    write_json,
    write_parts,
    write_text,
)
from tests.faults.disk import OPERATIONS, FailingFiles, UnsyncedFiles, WatchedFiles


def test_text_and_json_are_written_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "ä\n")
    write_json(tmp_path / "b.json", {"x": [1, None]})
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "ä\n"
    assert json.loads((tmp_path / "b.json").read_text()) == {"x": [1, None]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.json"]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "ckpt" / "final"
    with replaced_folder(path) as filling:
        (filling / "x").write_text("1")
        assert not path.exists()
    assert (path / "x").read_text() == "1"
    assert [p.name for p in path.parent.iterdir()] == ["final"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "final"
    for name in ("x", "y"):
        with replaced_folder(path) as filling:
            (filling / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["y"]
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_failure_leaves_the_old_folder(tmp_path):
    path = tmp_path / "final"
    with replaced_folder(path) as filling:
        (filling / "x").write_text("old")

    def fill_half():
        with replaced_folder(path) as filling:
            (filling / "x").write_text("new")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fill_half()
    assert (path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_failing_swap_puts_the_old_folder_back(tmp_path, monkeypatch):
    path = tmp_path / "final"
    with replaced_folder(path) as filling:
        (filling / "x").write_text("old")
    replace, calls = os.replace, []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="Input/output"), replaced_folder(path) as filling:
        (filling / "x").write_text("new")
    assert (path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_folder_has_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    with replaced_folder(tmp_path / "final") as filling:
        (filling / "x").touch()
    assert stat.S_IMODE((tmp_path / "final").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(tmp_path):
    files = WatchedFiles()
    write_text(tmp_path / "a.txt", "new", files)
    assert files.log == ["open", "write", "sync", "replace", "sync_folder"]
    files = WatchedFiles()
    with replaced_folder(tmp_path / "final", files) as filling:
        (filling / "sub").mkdir()
        (filling / "sub" / "x").write_text("1")
        (filling / "y").write_text("2")
    # Two files and the two folders that name them; the missing older folder; the new one; its name.
    assert files.log == ["sync", "sync_folder", "sync", "sync_folder", "replace", "replace", "sync_folder"]
    files = WatchedFiles()
    make_folders(tmp_path / "a" / "b", files)
    assert files.log == ["make_folder", "sync_folder"] * 2
    make_folders(tmp_path / "a" / "b", files)
    assert len(files.log) == 4


def test_real_syncs_reach_the_system(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor)) or fsync(descriptor)
    )
    write_text(tmp_path / "a.txt", "new")
    assert [stat.S_ISDIR(status.st_mode) for status in synced] == [False, True]
    assert [status.st_ino for status in synced] == [
        (tmp_path / "a.txt").stat().st_ino,
        tmp_path.stat().st_ino,
    ]


@pytest.mark.parametrize("operation", ["open", "write", "sync", "replace"])
def test_an_error_before_the_move_leaves_the_old_file_and_nothing_else(tmp_path, operation):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new", FailingFiles(errno.ENOSPC, operation))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("operation", "occurrence"), [("sync", 0), ("sync_folder", 0), ("replace", 0), ("replace", 1)]
)
def test_an_error_before_the_swap_leaves_the_old_folder(tmp_path, operation, occurrence):
    path = tmp_path / "final"
    with replaced_folder(path) as filling:
        (filling / "x").write_text("old")
    with (
        pytest.raises(OSError, match="Input/output"),
        replaced_folder(path, FailingFiles(errno.EIO, operation, occurrence)) as filling,
    ):
        (filling / "x").write_text("new")
    assert (path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_write_goes_on_where_the_system_took_a_part(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    write_parts(tmp_path / "a", [b"0123456789", b"", memoryview(b"abcd")])
    assert (tmp_path / "a").read_bytes() == b"0123456789abcd"


def test_a_folder_that_cannot_be_synced_by_its_file_system_is_no_error(tmp_path, monkeypatch):
    codes = [errno.EINVAL, errno.ENOTSUP, errno.EIO]

    def fsync(descriptor):
        code = codes.pop(0)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    FILES.sync_folder(tmp_path)
    FILES.sync_folder(tmp_path)
    with pytest.raises(OSError, match="Input/output"):
        FILES.sync_folder(tmp_path)


def test_several_files_are_written_before_the_first_wait(tmp_path):
    files = WatchedFiles()
    create_files({tmp_path / "a": [b"1", b"2"], tmp_path / "b": [b"3"]}, files)
    assert files.log == ["open", "write", "write", "open", "write", "sync", "sync"]
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"12", b"3"]
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space left"):
        create_files({tmp_path / "a": [b"4"], tmp_path / "b": [b"5"]}, FailingFiles(errno.ENOSPC, "write", 1))
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_symbolic_link_is_never_written_through_nor_followed_when_removed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("old")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "folder").symlink_to(tmp_path / "precious")
    (tmp_path / "tree" / "file").symlink_to(tmp_path / "precious" / "file")
    with pytest.raises(OSError, match="symbolic"):
        create_files({tmp_path / "tree" / "file": [b"new"]})
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "precious" / "file").read_text() == "old"
    write_text(tmp_path / "a", "x")
    remove_tree(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_doubles_do_what_the_real_one_does(tmp_path):
    assert set(OPERATIONS) == {name for name in dir(Files) if not name.startswith("_")}
    for number, files in enumerate((FILES, UnsyncedFiles(), WatchedFiles())):
        folder = tmp_path / str(number)
        make_folders(folder / "b", files)
        write_text(folder / "b" / "x", "1", files)
        files.replace(folder / "b", folder / "c")
        remove_tree(folder / "c", files)
        assert list(folder.iterdir()) == []
