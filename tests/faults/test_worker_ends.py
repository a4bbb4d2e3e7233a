"""The end of worker processes: by `close`, with their owner, and with a parent that is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hyperrl.sb3.workers import WorkerVecEnv
from tests.faults.broken_envs import Faulty
from tests.faults.worker_processes import ACTIONS, AT_ONCE, METHODS, all_gone, children, workers

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fault", ["hang", "compiled", "raise"])
def test_close_does_not_wait_for_an_environment(fault, short_close):
    venv = WorkerVecEnv([Faulty(), Faulty(fault, "close")], start_method="fork")
    pids = [process.pid for process in venv.processes]
    begin = time.monotonic()
    venv.close()
    venv.close()
    assert time.monotonic() - begin < AT_ONCE
    assert all_gone(pids, 0.0) == []


def test_close_in_the_middle_of_a_step_that_hangs(short_close):
    with workers(Faulty("hang"), Faulty()) as venv:
        venv.reset()
        venv.step_async(ACTIONS)
        pids = [process.pid for process in venv.processes]
    assert all_gone(pids, 0.0) == []


def sockets(pid):
    """Return the sockets that a process has open."""
    folder = Path(f"/proc/{pid}/fd")
    links = [os.readlink(folder / name) for name in os.listdir(folder) if (folder / name).is_symlink()]
    return {link for link in links if link.startswith("socket:")}


def test_a_forked_worker_has_no_connection_of_its_parent_or_siblings():
    before = sockets(os.getpid())
    with workers(*[Faulty()] * 3, start_method="fork") as venv:
        venv.reset()
        held = [sockets(os.getpid()) - before, *[sockets(process.pid) - before for process in venv.processes]]
        assert [len(some) for some in held] == [3, 1, 1, 1]
        assert len(set().union(*held)) == 6


@pytest.mark.parametrize("method", METHODS)
def test_nothing_stays_open(method):
    def cycle():
        with workers(Faulty(), start_method=method) as venv:
            venv.reset()

    cycle()  # The first one may start a fork server.
    before = len(os.listdir("/proc/self/fd"))
    cycle()
    assert len(os.listdir("/proc/self/fd")) == before


def test_workers_end_with_the_object():
    venv = WorkerVecEnv([Faulty()], start_method="fork")
    pids = [process.pid for process in venv.processes]
    del venv
    assert all_gone(pids) == []


@pytest.mark.parametrize("method", METHODS)
def test_workers_outlive_the_thread_that_started_them(method):
    made = []
    thread = threading.Thread(target=lambda: made.append(WorkerVecEnv([Faulty()], start_method=method)))
    thread.start()
    thread.join()
    made[0].reset()
    assert made[0].step(ACTIONS[:1])[0].tolist() == [[1, 1, 1]]
    made[0].close()


PARENT = """
import sys, threading, time
import numpy as np
from hyperrl.sb3.workers import WorkerVecEnv
from tests.faults.broken_envs import Faulty

method, end = sys.argv[1:]
kept = []

def start(fault):
    kept.append(WorkerVecEnv([Faulty(fault), Faulty()], start_method=method))
    kept[-1].reset()
    kept[-1].step_async(np.zeros((2, 2), np.float32))

start(None)
kept[0].step_wait()
start("hang")
if end == "kill":
    start("compiled")
    # The kernel can't be asked to end workers of another thread than the main one.
    other = threading.Thread(target=start, args=("hang",))
    other.start()
    other.join()
time.sleep(0.2)
print("ready", flush=True)
if end == "kill":
    time.sleep(1000)
"""


@contextlib.contextmanager
def parent(method, end):
    command = [sys.executable, "-c", PARENT, method, end]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    "method",
    [pytest.param(method, marks=pytest.mark.slow if method == "spawn" else ()) for method in METHODS],
)
def test_a_killed_parent_leaves_nobody_behind(method):
    """Neither idle workers nor such that hang, not even with the interpreter's lock, nor a fork server."""
    with parent(method, "kill") as process:
        pids = children(process.pid)
        assert len(pids) >= 8
        process.kill()
        process.wait()
        assert all_gone(pids) == []


@pytest.mark.parametrize(
    "method", ["forkserver", *[pytest.param(method, marks=pytest.mark.slow) for method in ("spawn", "fork")]]
)
def test_a_script_that_forgets_to_close_ends_nevertheless(method):
    with parent(method, "exit") as process:
        pids = children(process.pid)
        assert process.wait(20) == 0
        assert all_gone(pids) == []
