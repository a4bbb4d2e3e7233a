"""Tables and manifests on disk."""

from __future__ import annotations

import csv
import json

import pytest

from hyperrl.bench.report import provenance, read_manifest, record, show, write_table
from hyperrl.errors import RunFolderError


def test_a_table_comes_back_as_it_was(tmp_path):
    write_table(tmp_path / "t.csv", [{"a": 1, "b": "x, y"}, {"a": 2.5, "b": None}])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": "x, y"}, {"a": "2.5", "b": ""}]


def test_a_manifest_keeps_the_notes_of_other_results(tmp_path):
    record(tmp_path, {"one": {"seed": 3, "rounds": 5}})
    record(tmp_path, {"two": {"seed": 4}})
    manifest = read_manifest(tmp_path)
    assert (manifest["one"]["seed"], manifest["one"]["rounds"], manifest["two"]["seed"]) == (3, 5, 4)
    assert {"command", "packages", "cpu", "cores", "recorded", "python"} <= set(manifest["one"])
    assert not {"argv", "working_directory"} & set(manifest["one"])


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_manifest_is_named_and_not_overwritten(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"manifest\.json"):
        record(tmp_path, {"one": {"seed": 0}})
    assert (tmp_path / "manifest.json").read_text() == text


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        write_table(tmp_path / "file" / "t.csv", [{"a": 1}])


def test_every_row_says_where_it_comes_from():
    row = provenance(7, "cpu")
    assert row["seed"] == 7
    assert all(row[name] for name in ("machine", "threads", "torch", "command"))
    assert json.dumps(row)


def test_the_screen_shows_the_columns_asked_for(capsys):
    show(
        "Title",
        [{"variant": "one", "cpu_ms": 0.123456, "met": True, "limit": None}],
        ["variant", "cpu_ms", "met"],
    )
    shown = capsys.readouterr().out
    assert "0.123" in shown
    assert "yes" in shown
    assert "limit" not in shown
