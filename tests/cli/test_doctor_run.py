import dataclasses
import json
import shutil

import pytest
import torch

from hyperrl.cli import doctor, main
from hyperrl.run import RunFolder


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run that may be damaged."""
    path = tmp_path / "run"
    shutil.copytree(finished_run.folder.path, path)
    return RunFolder(path)


@pytest.fixture(autouse=True)
def only_the_run(monkeypatch):
    """Leave out the checks of the installation, which have tests of their own."""
    monkeypatch.setattr(doctor, "CHECKS", ())


def lines_of(capsys):
    out = capsys.readouterr().out
    return {line.split("  ")[0].strip(): line for line in out.splitlines()[1:]}


def test_a_sound_run_passes(capsys, run):
    assert main(["doctor", str(run.path)]) == 0
    lines = lines_of(capsys)
    assert "finished after 300 steps" in lines["run"]
    assert "the same as when the run began" in lines["versions"]
    assert all(" ok " in line for line in lines.values())
    assert {*run.store.names(), "latest", "best", "disk of run"} <= lines.keys()


def test_a_damaged_checkpoint_is_found(capsys, run):
    name = run.store.names()[-1]
    file = run.checkpoints / name / "policy.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert main(["doctor", str(run.path)]) == 1
    lines = lines_of(capsys)
    assert "FAIL" in lines[name]
    assert "policy.safetensors" in lines[name]
    assert " ok " in lines[run.store.names()[0]]


def test_a_run_that_was_killed_is_recognised(capsys, run):
    (run.path / "status.json").write_text(json.dumps({"state": "running", "steps": 200}))
    assert main(["doctor", str(run.path)]) == 0
    assert "no process trains in it: it was killed; hyperrl resume" in lines_of(capsys)["run"]


def test_a_run_that_trains_is_left_alone(capsys, run):
    (run.path / "status.json").write_text(json.dumps({"state": "running", "steps": 200}))
    with run.lock:
        assert main(["doctor", str(run.path)]) == 0
    assert "is in use by process" in lines_of(capsys)["run"]


def test_other_versions_are_a_warning(capsys, run):
    manifest = run.manifest()
    manifest["packages"]["torch"] = "0.1"
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    assert main(["doctor", str(run.path)]) == 0
    assert "torch 0.1 -> " in lines_of(capsys)["versions"]


def test_a_failed_run_says_why(capsys, run):
    run.set_status("failed", 120, "RuntimeError: the simulator broke")
    assert main(["doctor", str(run.path)]) == 0
    assert "failed after 120 steps, RuntimeError: the simulator broke" in lines_of(capsys)["run"]


def test_a_run_without_checkpoints(capsys, run):
    shutil.rmtree(run.checkpoints)
    assert main(["doctor", str(run.path)]) == 0
    assert "none yet" in lines_of(capsys)["checkpoints"]


def test_a_damaged_pointer_is_found(capsys, run):
    file = run.checkpoints / "latest.json"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert main(["doctor", str(run.path)]) == 1
    lines = lines_of(capsys)
    assert "FAIL" in lines["latest"]
    assert " ok " in lines["best"]


def test_a_run_without_a_best_checkpoint_is_sound(capsys, finished_run, tmp_path):
    run = RunFolder.create(dataclasses.replace(finished_run.config, out=str(tmp_path / "other")))
    run.store.save(3, weights={"a": torch.zeros(1)}, state={}, about={})
    assert main(["doctor", str(run.path)]) == 0
    assert "best" not in lines_of(capsys)
