"""Signals that reach a whole run, and the fork server that outlives them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from hyperrl.env_process import fork_server, guards
from hyperrl.env_process.handle import Worker, end_all
from tests.faults.broken_envs import Faulty
from tests.faults.worker_processes import ACTIONS, METHODS, workers

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")


def test_signals_to_the_whole_run_do_not_end_the_workers():
    with workers(Faulty(), Faulty()) as venv:
        venv.reset()
        for process in venv.processes:
            for name in NAMES:
                os.kill(process.pid, getattr(signal, name))
        assert np.all(venv.step(ACTIONS)[0] == 1)


@pytest.mark.parametrize("method", METHODS)
def test_signals_do_not_end_a_worker_that_is_still_starting(method):
    worker = Worker(fork_server.worker_context(method), 0, {"env_fn": Faulty()}, 60.0, 60.0)
    try:
        for name in NAMES:
            os.kill(worker.process.pid, getattr(signal, name))
        assert worker.recv()[0].shape == (3,)
    finally:
        end_all([worker], 2.0)


def test_a_signal_to_the_parent_that_starts_a_worker_is_late_and_not_lost():
    received = []
    previous = signal.signal(signal.SIGUSR2, lambda *_: received.append("signal"))
    try:
        with guards.signals_held("fork"):
            # To this thread: other threads of the process, such as torch's, would take it at once.
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
            received.append("started")
        assert received == ["started", "signal"]
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_signals_do_not_end_the_fork_server_and_its_death_costs_an_episode_each():
    with workers(Faulty(), Faulty(), start_method="forkserver", restarts=2) as venv:
        venv.reset()
        server = fork_server._SERVER._forkserver_pid
        for name in NAMES:
            os.kill(server, getattr(signal, name))
        assert (venv.step(ACTIONS)[0] == 1).all()
        os.kill(server, signal.SIGKILL)
        time.sleep(0.2)
        with pytest.warns(UserWarning, match="restart [12] of at most 2"):
            assert venv.step(ACTIONS)[2].tolist() == [True, True]
        assert fork_server._SERVER._forkserver_pid != server
        np.testing.assert_array_equal(venv.step(ACTIONS)[0], np.ones((2, 3)))


def test_processes_that_others_start_can_still_be_terminated():
    """`multiprocessing` terminates them when Python exits, and then waits without limit."""
    with workers(Faulty(), start_method="forkserver"):
        process = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(1000,))
        process.start()
        process.terminate()
        process.join(10)
        ended = process.exitcode
        process.kill()
        process.join()
    assert ended == -signal.SIGTERM
