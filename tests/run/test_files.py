import json
import os
import stat

import pytest

from hyperrl.run.files import replaced_folder, write_json, write_text


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
