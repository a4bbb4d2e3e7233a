import os
import signal
import subprocess
import sys
import time

import pytest

from hyperrl.config import RunConfig
from hyperrl.sweep.process import RunProcess
from tests.sweep.small_sweeps import PRETEND, environment, wait_for

PARENT = """
import os, sys, time
from hyperrl.config import RunConfig
from hyperrl.sweep import process
config = RunConfig("td3", "Pendulum-v1", out=sys.argv[1], steps=10**9)
print(process.RunProcess(config).pid, flush=True)
time.sleep(60)
"""


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.usefixtures("pretend")
def test_it_is_stopped_and_killed(tmp_path):
    config = RunConfig("td3", "Pendulum-v1", out=str(tmp_path / "run"), agent_kwargs={"act": "hang"})
    for end, status in ((RunProcess.stop, 143), (RunProcess.kill, -signal.SIGKILL)):
        (tmp_path / "run" / "status.json").unlink(missing_ok=True)
        process = RunProcess(config)
        wait_for((tmp_path / "run" / "status.json").exists)
        assert process.poll() is None
        end(process)
        wait_for(lambda process=process: process.poll() is not None)
        assert process.poll() == status
        end(process)


@pytest.mark.usefixtures("pretend")
def test_it_is_in_a_session_of_its_own(tmp_path):
    config = RunConfig("td3", "Pendulum-v1", out=str(tmp_path / "run"), agent_kwargs={"act": "hang"})
    process = RunProcess(config)
    assert os.getsid(process.pid) == process.pid
    process.kill()


def test_a_program_that_reads_nothing_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr("hyperrl.sweep.process._PROGRAM", ("-c", "raise SystemExit(5)"))
    text = "x" * 1_000_000
    process = RunProcess(RunConfig("td3", "a", out=str(tmp_path / "run"), agent_kwargs={"text": text}))
    wait_for(lambda: process.poll() is not None)
    assert process.poll() == 5


@pytest.mark.parametrize("moment", [0.0, 1.0], ids=["at once", "while it imports"])
def test_a_killed_parent_leaves_no_process(tmp_path, moment):
    """The real program: it watches its parent before it imports anything heavy."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    pid = int(parent.stdout.readline())
    time.sleep(moment)
    assert not gone(pid)
    parent.kill()
    parent.communicate()
    wait_for(lambda: gone(pid), 10)


def test_the_pretended_run_is_a_program():
    compile(PRETEND, "pretend", "exec")
