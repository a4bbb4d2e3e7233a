"""Workers that raise, die or hang: the parent is told at once, with the cause."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import numpy as np
import pytest

from hyperrl.errors import WorkerError
from hyperrl.sb3.workers import WorkerVecEnv
from tests.faults.broken_envs import Becomes, Faulty, unreadable
from tests.faults.worker_processes import ACTIONS, AT_ONCE, HANG, METHODS, all_gone, children, workers

SENTENCES = {
    "raise": r"environment {} raised ValueError in {}: the mass is negative",
    "kill": r"environment {} died in {}: its worker process was killed by SIGKILL.*",
    "exit": r"environment {} ended its worker process in {} with exit code 0",
    "memory": r"environment {} raised MemoryError in {}",
    "hang": r"environment {} did not answer in time in {}: its worker process was killed",
}
# The worker's own stack has the line at fault, but for SIGKILL, on which no process can say anything.
STACKS = {
    "raise": 'raise ValueError("the mass',
    "kill": "",
    "exit": "sys.exit(0)",
    "memory": "bytearray(1 << 62)",
    "hang": "in _hang",
}


@pytest.mark.parametrize("call", ["step", "reset"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", SENTENCES)
def test_a_fault_reaches_the_parent_with_its_cause(fault, method, call):
    # A sibling that was forked later holds what it inherited; one that was forked before does not.
    index = 0 if call == "step" else 1
    env_fns = [Faulty(), Faulty()]
    env_fns[index] = Faulty(fault, call)
    timeout = HANG if fault == "hang" else 60.0
    with workers(*env_fns, start_method=method, step_timeout=timeout) as venv:
        if call == "step":
            venv.reset()
        begin = time.monotonic()
        with pytest.raises(WorkerError) as caught:
            venv.step(ACTIONS) if call == "step" else venv.reset()
        assert time.monotonic() - begin < AT_ONCE
    assert re.fullmatch(SENTENCES[fault].format(index, call), str(caught.value))
    assert STACKS[fault] in caught.value.worker_traceback
    assert STACKS[fault] in "".join(getattr(caught.value, "__notes__", []))


@pytest.mark.parametrize(
    ("fault", "sentence", "stack"),
    [
        ("os_exit", "environment 1 died in step: its worker process ended with exit code 3", ""),
        (
            "segfault",
            "environment 1 died in step: its worker process was killed by SIGSEGV",
            "Fatal Python error: Segmentation fault",
        ),
        ("system_exit", "environment 1 ended its worker process in step with exit code 1", "no licence"),
        ("compiled", SENTENCES["hang"].format(1, "step"), "in _hang_in_compiled_code"),
    ],
)
def test_other_ways_to_die(fault, sentence, stack):
    with workers(Faulty(), Faulty(fault), step_timeout=HANG) as venv:
        venv.reset()
        with pytest.raises(WorkerError) as caught:
            venv.step(ACTIONS)
        assert str(caught.value) == sentence
        assert stack in caught.value.worker_traceback
        # A dead worker stays dead, and the reason with it; the others go on.
        if fault != "system_exit":
            with pytest.raises(WorkerError, match=re.escape(sentence)):
                venv.get_attr("calls")
        assert venv.get_attr("calls", indices=0)[0]["step"] == 1


def test_the_first_failure_is_known_though_a_sibling_before_it_hangs(short_close):
    with workers(Faulty("hang"), Faulty("raise"), step_timeout=30.0) as venv:
        venv.reset()
        begin = time.monotonic()
        with pytest.raises(WorkerError, match="environment 1 raised ValueError"):
            venv.step(ACTIONS)
        assert time.monotonic() - begin < AT_ONCE


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("raise", "environment 1 raised ValueError in its constructor: the mass is negative"),
        ("kill", "environment 1 died in its constructor: its worker process was killed by SIGKILL"),
        ("hang", "environment 1 did not answer in time in its constructor"),
    ],
)
def test_a_constructor_that_fails_leaves_nothing(fault, sentence):
    before = set(children(os.getpid()))
    begin = time.monotonic()
    with pytest.raises(WorkerError, match=sentence):
        WorkerVecEnv([Faulty(), Faulty(fault, "constructor")], start_timeout=1.5, start_method="fork")
    assert time.monotonic() - begin < 1.5 + AT_ONCE
    assert all_gone(set(children(os.getpid())) - before) == []


def test_a_function_that_cannot_be_sent_or_read():
    lock = threading.Lock()
    with pytest.raises(WorkerError, match=r"env_fn of environment 0 cannot be sent .* cannot pickle"):
        WorkerVecEnv([lambda: lock])
    with pytest.raises(
        WorkerError, match=r"environment 0 raised RuntimeError in its constructor: unreadable"
    ):
        WorkerVecEnv([Becomes(unreadable)])
    with workers(lambda: Faulty()() if lock else None, start_method="fork") as venv:
        assert venv.reset().shape == (1, 3)


def test_something_else_than_an_environment():
    with pytest.raises(
        WorkerError, match=r"returned an object of type dict from its constructor, where a gym"
    ):
        WorkerVecEnv([dict])


def test_a_worker_that_dies_between_two_steps():
    with workers(Faulty(), Faulty()) as venv:
        venv.reset()
        os.kill(venv.processes[1].pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"environment 1 died in step.*SIGKILL"):
            venv.step(ACTIONS)


def test_a_worker_that_is_stopped_with_a_full_pipe():
    with workers(Faulty(), Faulty(), step_timeout=HANG) as venv:
        os.kill(venv.processes[0].pid, signal.SIGSTOP)
        with pytest.raises(WorkerError, match="environment 0 did not answer in time in set_attr 'big'"):
            venv.set_attr("big", np.zeros(4_000_000, np.uint8))
