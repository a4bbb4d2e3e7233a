import dataclasses
import json
import shutil

import pytest
import torch

from hyperrl.cli import doctor, main
from hyperrl.errors import CheckpointCorruptError, CheckpointError, RunFolderError
from hyperrl.run import RunFolder
from hyperrl.run.lock import RunLock
from hyperrl.run.pointers import write_pointer
from hyperrl.run.store import CheckpointStore


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


def everything(folder):
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in folder.path.rglob("*")}


@pytest.mark.parametrize("state", ["running", "finished"])
def test_looking_writes_nothing_and_takes_no_lock(capsys, run, monkeypatch, state):
    run.set_status(state, 200)
    (run.path / "run.lock").unlink(missing_ok=True)

    def enter(_):
        raise RunFolderError("it is in use")  # As where the folder cannot be written.

    monkeypatch.setattr(RunLock, "__enter__", enter)
    before = everything(run)
    assert main(["doctor", str(run.path)]) == 0
    assert everything(run) == before
    line = lines_of(capsys)["run"]
    assert ("it was killed" in line) is (state == "running")


def test_a_lock_that_tells_nothing_is_no_failure(capsys, run):
    run.set_status("running", 200)
    (run.path / "run.lock").unlink(missing_ok=True)
    (run.path / "run.lock").symlink_to("run.lock")
    assert main(["doctor", str(run.path)]) == 0
    assert "run.lock cannot be read" in lines_of(capsys)["run"]


@pytest.mark.parametrize("when", ["before", "amid"])
def test_a_checkpoint_that_is_rotated_away_meanwhile_is_no_fault(capsys, run, monkeypatch, when):
    first, *others = run.store.names()
    assert others
    verify = CheckpointStore.verify

    def rotated(store, name, **settings):
        if name == first:
            if when == "before":
                shutil.rmtree(store.folder / first)
            else:
                (store.folder / first / "state.json").unlink()
                with pytest.raises(CheckpointError) as caught:
                    verify(store, name, **settings)
                shutil.rmtree(store.folder / first)
                raise caught.value
        return verify(store, name, **settings)

    monkeypatch.setattr(CheckpointStore, "verify", rotated)
    assert main(["doctor", str(run.path)]) == 0
    lines = lines_of(capsys)
    assert first not in lines
    assert all(" ok " in lines[name] for name in others)


@pytest.mark.parametrize(("moves", "verdict"), [(1, " ok "), (99, " warn ")])
def test_a_pointer_that_moves_meanwhile_is_followed(capsys, run, monkeypatch, moves, verdict):
    left = [moves]
    verify = CheckpointStore.verify

    def moved(store, name, **settings):
        if name == "latest" and left[0]:
            left[0] -= 1
            manifest = (store.folder / run.store.names()[left[0] % 2] / "manifest.json").read_bytes()
            write_pointer(store.folder, "latest", run.store.names()[left[0] % 2], manifest)
            raise CheckpointCorruptError("it is missing")
        return verify(store, name, **settings)

    monkeypatch.setattr(CheckpointStore, "verify", moved)
    assert main(["doctor", str(run.path)]) == 0
    assert verdict in lines_of(capsys)["latest"]


def test_other_settings_are_found(capsys, run):
    file = run.path / "run.toml"
    text = file.read_text()
    file.write_text(text.replace("eval_every = 100", "eval_every = 50"))
    assert main(["doctor", str(run.path)]) == 0
    assert "eval_every was 100" in lines_of(capsys)["settings"]
    file.write_text(text.replace("batch_size = 16", "batch_size = 17"))
    assert main(["doctor", str(run.path)]) == 1
    assert "agent_kwargs.batch_size was 16" in lines_of(capsys)["settings"]
    file.write_text(text.replace("batch_size = 16", "batch_size ? 16"))
    assert main(["doctor", str(run.path)]) == 1
    assert "is not valid TOML" in capsys.readouterr().out


def test_the_speed_of_the_disk_is_not_measured_in_a_run(run, monkeypatch):
    monkeypatch.delenv("HYPERRL_RUNS", raising=False)
    monkeypatch.chdir(run.path)
    before = everything(run)
    free, _ = doctor.check_disk()
    assert free.detail.endswith(f" at {run.path.parent}")
    assert everything(run) == before
