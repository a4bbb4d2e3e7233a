import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, RunFolderError, UnknownNameError
from hyperrl.run import RunFolder, default_folder

CONFIG = RunConfig("td3", "Ant-v5", seed=3, agent_kwargs={"gamma": 0.9})


def at(path):
    return dataclasses.replace(CONFIG, out=str(path))


def contents(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_a_new_folder_holds_the_configuration_the_manifest_and_the_status(tmp_path):
    folder = RunFolder.create(at(tmp_path / "a b" / "rün"))
    assert folder.path == tmp_path / "a b" / "rün"
    assert folder.config() == CONFIG
    assert folder.status()["state"] == "created"
    assert folder.status()["steps"] == 0
    assert folder.manifest()["seed"] == 3
    assert folder.tensorboard.is_dir()
    assert folder.checkpoints.is_dir()
    assert folder.evaluation.is_dir()
    assert RunFolder.open(folder.path) == folder


def test_an_empty_folder_is_taken(tmp_path):
    assert RunFolder.create(at(tmp_path)).path == tmp_path


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path):
    RunFolder.create(at(tmp_path))
    before = contents(tmp_path)
    for function in (RunFolder.place, RunFolder.create):
        with pytest.raises(RunFolderError, match="already holds a run: choose another folder"):
            function(at(tmp_path))
    assert contents(tmp_path) == before


def test_a_folder_that_holds_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for function in (RunFolder.place, RunFolder.create):
        with pytest.raises(RunFolderError, match="already holds files"):
            function(at(tmp_path))
    assert contents(tmp_path) == {Path("thesis.txt"): b"precious"}


def test_a_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.create(at(tmp_path / "x"))
    with pytest.raises(RunFolderError, match="cannot be"):
        RunFolder.create(at(tmp_path / "x" / "y"))


def test_of_two_runs_that_start_together_one_gets_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("hyperrl.run.folder.refuse_taken", lambda path: None)
    RunFolder.create(at(tmp_path))
    before = contents(tmp_path)
    with pytest.raises(RunFolderError, match="already holds a run"):
        RunFolder.create(at(tmp_path))
    assert contents(tmp_path) == before


def test_the_default_folder_is_under_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERRL_RUNS", str(tmp_path))
    path = RunFolder.create(dataclasses.replace(CONFIG, env="my/Env:v0")).path
    assert path.parent == tmp_path / "my-Env-v0" / "td3"
    assert re.fullmatch(r"\d{8}T\d{6}Z-s3", path.name)
    monkeypatch.delenv("HYPERRL_RUNS")
    assert default_folder(CONFIG).parts[:3] == ("runs", "Ant-v5", "td3")


def test_two_runs_in_one_second_get_two_folders(tmp_path, monkeypatch):
    from datetime import UTC, datetime

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    monkeypatch.setattr("hyperrl.run.place.datetime", Frozen)
    names = [RunFolder.create(CONFIG).path.name for _ in range(3)]
    assert names == ["20260102T030405Z-s3", "20260102T030405Z-s3-2", "20260102T030405Z-s3-3"]


def test_a_name_of_dots_stays_below_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERRL_RUNS", str(tmp_path))
    path = default_folder(dataclasses.replace(CONFIG, env="..", agent="../.."))
    assert path.resolve().relative_to(tmp_path).parts[:-1] == ("unnamed", "-")


def test_opening_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="there is no folder"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(RunFolderError, match="holds no run"):
        RunFolder.open(tmp_path)


def test_the_status_and_the_end_are_written(tmp_path):
    folder = RunFolder.create(at(tmp_path))
    folder.set_status("failed", 70, "ValueError: x")
    assert {k: folder.status()[k] for k in ("state", "steps", "error")} == {
        "state": "failed",
        "steps": 70,
        "error": "ValueError: x",
    }
    folder.set_status("finished", 80)
    assert "error" not in folder.status()
    with pytest.raises(UnknownNameError, match="unknown state of a run 'finishd', did you mean 'finished'"):
        folder.set_status("finishd", 0)
    assert folder.manifest()["finished"] is None
    folder.close_manifest()
    assert folder.manifest()["finished"] >= folder.manifest()["started"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_damaged_files_are_named(tmp_path, text):
    folder = RunFolder.create(at(tmp_path))
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"status\.json"):
        folder.status()
    (tmp_path / "run.toml").write_text("agent = ")
    with pytest.raises(ConfigError, match=r"run\.toml is not valid TOML"):
        folder.config()
    (tmp_path / "run.toml").unlink()
    with pytest.raises(RunFolderError, match=r"run\.toml cannot be read"):
        folder.config()


def test_a_checkpoint_is_found_by_name(tmp_path):
    folder = RunFolder.create(at(tmp_path))
    (folder.path / "status.json").write_text("{}")
    with pytest.raises(RunFolderError, match="has no checkpoint yet: its state is unknown"):
        folder.checkpoint()
    folder.set_status("created", 0)
    with pytest.raises(RunFolderError, match="has no checkpoint yet: its state is created"):
        folder.checkpoint()
    for steps, best in ((10, True), (20, False)):
        folder.store.save(
            steps, weights={"a": torch.zeros(1)}, state={"x": steps}, about={}, segments=(), best=best
        )
    found = {name: folder.checkpoint(name).steps for name in ("latest", "best", "10", "20")}
    assert found == {"latest": 20, "best": 10, "10": 10, "20": 20}
    with pytest.raises(UnknownNameError, match="'bst', did you mean 'best'"):
        folder.checkpoint("bst")


def test_a_run_can_be_lengthened_and_its_manifest_says_who_went_on(tmp_path):
    folder = RunFolder.create(at(tmp_path))
    folder.close_manifest()
    longer = dataclasses.replace(folder.config(), steps=7_000_000)
    folder.change_steps(longer)
    folder.note_resume(500)
    folder.note_resume(900)
    assert folder.config() == longer
    manifest = folder.manifest()
    assert manifest["finished"] is None
    assert [entry["steps"] for entry in manifest["resumed"]] == [500, 900]
    assert manifest["resumed"][0]["packages"] == manifest["packages"]


def test_a_status_that_cannot_be_written_is_let_pass(tmp_path, monkeypatch):
    folder = RunFolder.create(at(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hyperrl.run.folder.write_json", full)
    folder.try_status("running", 5)
    assert folder.status()["state"] == "created"
    with pytest.raises(OSError, match="No space left"):
        folder.set_status("running", 5)


def test_the_manifest_is_json_with_the_versions(tmp_path):
    folder = RunFolder.create(at(tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest == folder.manifest()
    for name in ("hyperrl", "torch", "stable-baselines3", "gymnasium", "mujoco", "numpy"):
        assert re.match(r"\d+\.\d+", manifest["packages"][name])
    assert manifest["cores"] >= 1
    assert re.match(r"3\.\d+", manifest["python"])
    assert isinstance(manifest["argv"], list)
    assert {"platform", "cpu", "git", "started"} <= set(manifest)
