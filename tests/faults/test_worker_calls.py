"""Calls to workers that fail, are interrupted or come out of order leave the environments in step."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from hyperrl.errors import UnknownNameError, WorkerError
from hyperrl.sb3.workers import WorkerVecEnv
from tests.faults.broken_envs import Becomes, Faulty, unreadable
from tests.faults.worker_processes import ACTIONS, workers


def test_a_failed_call_leaves_the_environments_usable_and_in_step():
    with workers(Faulty(), Faulty()) as venv:
        venv.reset()
        with pytest.raises(
            WorkerError, match="environment 0 raised ValueError in env_method 'fail': the mass"
        ):
            venv.env_method("fail", "raise")
        assert venv.step(ACTIONS)[3] == [{"calls": 1, "TimeLimit.truncated": False}] * 2
        with pytest.raises(AttributeError, match="environment 0 raised AttributeError in get_attr 'nothing'"):
            venv.get_attr("nothing")
        assert venv.step(ACTIONS)[3] == [{"calls": 2, "TimeLimit.truncated": False}] * 2


def test_what_cannot_be_sent_or_read():
    with workers(Faulty()) as venv:
        with pytest.raises(
            WorkerError, match="environment 0 raised RuntimeError in the reading of a request"
        ):
            venv.set_attr("arrived", Becomes(unreadable))
        venv.set_attr("arrived", Becomes(eval, "lambda: 0"))
        with pytest.raises(
            WorkerError, match=r"environment 0 raised \w+Error in get_attr 'arrived': .*pickle"
        ):
            venv.get_attr("arrived")
        venv.set_attr("arrived", Becomes(Becomes, unreadable))
        with pytest.raises(
            WorkerError, match="the answer of environment 0 to get_attr 'arrived' cannot be read"
        ):
            venv.get_attr("arrived")
        assert venv.reset().shape == (1, 3)


def test_calls_out_of_order():
    with workers(Faulty()) as venv:
        with pytest.raises(WorkerError, match="step_wait was called without a step under way"):
            venv.step_wait()
        venv.close()
        for call in (venv.reset, lambda: venv.step(ACTIONS[:1]), lambda: venv.get_attr("calls")):
            with pytest.raises(WorkerError, match="environment 0 is closed"):
                call()
    with pytest.raises(UnknownNameError, match="did you mean 'spawn'"):
        WorkerVecEnv([Faulty()], start_method="spwan")


def test_nothing_else_is_asked_while_a_step_is_under_way():
    """The answer to the step would be dropped, and `step_wait` would wait for it until the time is up."""
    with workers(Faulty(), Faulty()) as venv:
        venv.reset()
        venv.step_async(ACTIONS)
        for call in (
            lambda: venv.step_async(ACTIONS),
            lambda: venv.get_attr("calls"),
            lambda: venv.set_attr("mass", 1.0),
            lambda: venv.env_method("fail", "raise"),
            lambda: venv.env_is_wrapped(object),
            lambda: venv.has_attr("calls"),
            venv.get_images,
        ):
            with pytest.raises(WorkerError, match="while a step is under way: call step_wait first"):
                call()
        assert [info["calls"] for info in venv.step_wait()[3]] == [1, 1]
        assert [info["calls"] for info in venv.step(ACTIONS)[3]] == [2, 2]


def test_a_reset_forgets_the_step_that_is_under_way():
    with workers(Faulty(), Faulty()) as venv:
        venv.reset()
        venv.step_async(ACTIONS)
        assert (venv.reset() == 1).all()
        with pytest.raises(WorkerError, match="step_wait was called without a step under way"):
            venv.step_wait()


def test_an_argument_that_cannot_be_sent_is_said():
    with workers(Faulty(), Faulty()) as venv:
        with pytest.raises(
            WorkerError, match=r"what env_method 'fail' takes along cannot be sent to environment 0: .*pickle"
        ):
            venv.env_method("fail", lambda: 0)
        assert venv.reset().shape == (2, 3)


def test_a_worker_whose_request_was_interrupted_is_given_up():
    """What would come next is the middle of a message to it."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with workers(Faulty(), Faulty()) as venv:
            venv.reset()
            os.kill(venv.processes[0].pid, signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt):
                venv.set_attr("big", np.zeros(4_000_000, np.uint8))
            with pytest.raises(WorkerError, match="environment 0 was given up as a request to it was inter"):
                venv.step(ACTIONS)
            assert venv.get_attr("calls", indices=1)[0]["step"] == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
