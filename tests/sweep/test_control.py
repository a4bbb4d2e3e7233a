"""The loop of a sweep, with processes that pretend to be runs."""

import csv
import os
import signal
import threading

import pytest

from hyperrl.errors import ClusterError, RunFolderError, RunStoppedError
from hyperrl.run.lock import RunLock
from hyperrl.sweep.control import run_sweep
from hyperrl.sweep.engine import LocalEngine
from hyperrl.sweep.folder import SweepFolder
from tests.sweep.small_sweeps import pretended, wait_for

pytestmark = pytest.mark.usefixtures("pretend")


class Listener:
    """Notes what it is told."""

    def __init__(self):
        self.heard = []
        self.most = 0

    def began(self, name, record):
        self.heard.append(("began", name, record.status))

    def ended(self, name, record):
        self.heard.append(("ended", name, record.status))

    def refresh(self, states):
        self.most = max(self.most, sum(record.status == "running" for record in states.values()))


@pytest.fixture
def folder(tmp_path):
    return SweepFolder(tmp_path / "sweep")


def sweep(plan, folder, *, workers=2, retry=False, listener=None):
    return run_sweep(plan, folder, LocalEngine(workers), listener or Listener(), retry=retry)


def statuses(result):
    return [record.status for record in result.records.values()]


def table(folder):
    with (folder.path / "runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def when(condition, number=signal.SIGTERM, times=1):
    """Send this process a signal as soon as something is true."""

    def send():
        wait_for(condition)
        for _ in range(times):
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_all_runs_finish_and_finished_ones_stay(folder):
    listener = Listener()
    result = sweep(pretended("finish", "finish", "finish"), folder, listener=listener)
    assert statuses(result) == ["finished"] * 3
    assert result.unfinished == {}
    assert [row["status"] for row in table(folder)] == ["finished"] * 3
    assert len(listener.heard) == 6
    assert (folder.path / "run-0" / "run.log").read_text() == "begun with threads: 1\n"
    assert {path.name for path in folder.path.iterdir()} == {
        *("run-0", "run-1", "run-2", "runs.csv", "sweep.toml", "run.lock")
    }
    again = Listener()
    assert (
        statuses(sweep(pretended("finish", "finish", "finish", "finish"), folder, listener=again))
        == ["finished"] * 4
    )
    assert again.heard == [("began", "run-3", "waiting"), ("ended", "run-3", "finished")]


def test_a_failed_run_does_not_stop_the_others_and_waits_for_retry(folder):
    plan = pretended("fail", "finish", "die", "refuse")
    result = sweep(plan, folder, workers=1)
    assert statuses(result) == ["failed", "finished", "failed", "failed"]
    assert [row["error"] for row in table(folder)] == [
        "it is NaN",
        "",
        "its process was ended by SIGKILL, perhaps for want of memory",
        "there is no such thing",
    ]
    assert (folder.path / "run-3.log").exists()

    listener = Listener()
    assert statuses(sweep(plan, folder, listener=listener))[0] == "failed"
    # What could not even begin left nothing behind, and is tried again.
    assert [name for what, name, _ in listener.heard if what == "began"] == ["run-3"]

    (folder.path / "go").touch()
    assert statuses(sweep(plan, folder, retry=True)) == ["finished", "finished", "failed", "failed"]


def test_no_more_run_side_by_side_than_asked_for(folder):
    plan = pretended("hang", "hang", "hang", "hang")
    listener = Listener()
    thread = when(lambda: (folder.path / "run-1" / "status.json").exists())
    with pytest.raises(RunStoppedError):
        sweep(plan, folder, listener=listener)
    thread.join()
    assert listener.most == 2
    assert not (folder.path / "run-2").exists()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 75)]
)
def test_a_signal_stops_the_runs_and_the_same_command_continues(folder, number, status):
    plan = pretended("finish", "hang", "hang")
    thread = when(lambda: all((folder.path / f"run-{i}" / "status.json").exists() for i in (1, 2)), number)
    with pytest.raises(RunStoppedError, match=f"stopped by {number.name} with 1 of 3 runs finished") as stop:
        sweep(plan, folder)
    thread.join()
    assert stop.value.exit_status == status
    assert [row["status"] for row in table(folder)] == ["finished", "stopped", "stopped"]
    assert [row["steps"] for row in table(folder)] == ["10", "5", "5"]
    (folder.path / "go").touch()
    listener = Listener()
    assert statuses(sweep(plan, folder, listener=listener)) == ["finished"] * 3
    assert ("began", "run-1", "stopped") in listener.heard
    assert (folder.path / "run-1" / "run.log").read_text().count("begun") == 2


def test_a_second_interrupt_ends_all_at_once(folder):
    plan = pretended("hang")
    thread = when(lambda: (folder.path / "run-0" / "status.json").exists(), signal.SIGINT, times=2)
    with pytest.raises((KeyboardInterrupt, RunStoppedError)):
        sweep(plan, folder)
    thread.join()
    with RunLock(folder.path):
        pass


def test_a_run_that_somebody_stops_is_no_failure(folder):
    def stop_it():
        from pathlib import Path

        wait_for(lambda: (folder.path / "run-0" / "status.json").exists())
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            except OSError:
                continue
            if bytes(folder.path / "run-0") in words:
                os.kill(int(entry.name), signal.SIGTERM)

    thread = threading.Thread(target=stop_it)
    thread.start()
    result = sweep(pretended("hang", "finish"), folder)
    thread.join()
    assert statuses(result) == ["stopped", "finished"]
    assert list(result.unfinished) == ["run-0"]


def test_a_second_sweep_in_the_folder_is_refused(folder):
    plan = pretended("finish")
    folder.make()
    folder.write_plan(plan)
    with RunLock(folder.path), pytest.raises(RunFolderError, match="in use by process"):
        sweep(plan, folder)
    assert not (folder.path / "run-0").exists()


def test_a_refusal_by_the_engine_leaves_nothing(folder, tmp_path):
    class Elsewhere(LocalEngine):
        def check_folder(self, path):
            raise ClusterError("a machine does not see it")

    with pytest.raises(ClusterError):
        run_sweep(pretended("finish"), folder, Elsewhere(1), Listener())
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_log_cannot_be_written_fails_alone(folder):
    folder.make()
    (folder.path / "run-0.log").mkdir()
    plan = pretended("finish", "finish")
    folder.write_plan(plan)
    result = sweep(plan, folder)
    assert statuses(result) == ["failed", "finished"]
    assert "cannot be started: Is a directory" in result.records["run-0"].error
