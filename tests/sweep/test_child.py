"""What the process of a run decides: begin, begin again, continue, or say that all is done."""

import dataclasses
import io
import shutil
import threading

import pytest

from hyperrl.config import RunConfig
from hyperrl.errors import RunFolderError
from hyperrl.run.folder import RunFolder
from hyperrl.run.lock import RunLock
from hyperrl.sweep import child
from tests.faults.small_runs import digests_of


@pytest.fixture
def config(small_config, tmp_path):
    return dataclasses.replace(small_config, steps=120, checkpoint_every=50, out=str(tmp_path / "run"))


def test_a_run_begins(config):
    child.carry_on(config)
    assert RunFolder.open(config.out).status()["state"] == "finished"


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(config):
    folder = RunFolder.create(config)
    folder.set_status("running", 0)
    (folder.path / "run.toml").write_text("agent = ")
    child.carry_on(config)
    assert RunFolder.open(config.out).status() | {"updated": ""} == {
        **{"state": "finished", "steps": 120, "updated": ""}
    }


def test_the_files_of_others_are_not_removed(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(RunFolderError, match="already holds files"):
        child.carry_on(config)
    assert (tmp_path / "run" / "notes.txt").exists()


def test_a_killed_run_continues_and_ends_as_if_nothing_had_been(config, tmp_path):
    child.carry_on(config)
    expected = digests_of(config.out, 120)
    shutil.rmtree(tmp_path / "run" / "ckpt" / "step-000000000120")
    for pointer in ("latest.json", "best.json"):
        (tmp_path / "run" / "ckpt" / pointer).unlink()
    RunFolder(tmp_path / "run").set_status("running", 77)
    child.carry_on(config)
    assert digests_of(config.out, 120) == expected
    assert len(RunFolder.open(config.out).manifest()["resumed"]) == 1


def test_a_run_that_only_did_not_say_that_it_is_done_says_so(config):
    child.carry_on(config)
    folder = RunFolder.open(config.out)
    folder.set_status("running", 100)
    child.carry_on(config)
    assert (folder.status()["state"], folder.status()["steps"]) == ("finished", 120)
    assert "resumed" not in folder.manifest()


def test_it_waits_until_another_process_is_gone(config, monkeypatch):
    folder = RunFolder.create(config)
    lock = RunLock(folder.path)
    lock.__enter__()
    threading.Timer(0.5, lambda: lock.__exit__(None, None, None)).start()
    child.carry_on(config)
    assert RunFolder.open(config.out).status()["state"] == "finished"


def test_it_does_not_wait_for_ever(config, monkeypatch):
    monkeypatch.setattr(child, "_WAIT_FOR_LOCK_SECONDS", 0.3)
    folder = RunFolder.create(config)
    with RunLock(folder.path), pytest.raises(RunFolderError, match="is in use by process"):
        child.carry_on(config)
    assert (folder.path / "run.toml").exists()


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (None, 0, ""),
        (RunFolderError("it is full"), 2, "hyperrl: it is full"),
        (RuntimeError("of\nthe library"), 1, "hyperrl: RuntimeError: of the library"),
    ],
)
def test_the_exit_status_and_the_last_line_say_how_it_ended(monkeypatch, capsys, error, status, sentence):
    def carry_on(config):
        assert config == RunConfig("td3", "Pendulum-v1", out="here")
        if error is not None:
            raise error

    monkeypatch.setattr(child, "carry_on", carry_on)
    monkeypatch.setattr(child, "die_with_parent", lambda *_, **__: None)
    monkeypatch.setattr("sys.stdin", io.StringIO(RunConfig("td3", "Pendulum-v1", out="here").to_toml()))
    monkeypatch.setattr("warnings.showwarning", None)
    assert child.main(["1", "here"]) == status
    assert capsys.readouterr().err.strip().rpartition("\n")[2] == sentence
