"""Workers that raise, die, hang or talk nonsense, and workers whose parent is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hyperrl.errors import UnknownNameError, WorkerError
from hyperrl.sb3.workers import WorkerVecEnv
from tests.faults.broken_envs import Becomes, Faulty, unreadable

ROOT = Path(__file__).parents[2]
METHODS = ("forkserver", "spawn", "fork")
ACTIONS = np.zeros((2, 2), np.float32)
HANG = 1.0  # Seconds; much longer than an idle environment ever takes.
AT_ONCE = 5.0  # Seconds in which a failure has to be known on a busy machine; it takes a few milliseconds.

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


def running(pid):
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def all_gone(pids, seconds=5.0):
    """Wait until none of the processes runs; return those that still do."""
    end = time.monotonic() + seconds
    while (left := [pid for pid in pids if running(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


@contextlib.contextmanager
def workers(*env_fns, **settings):
    """Environments that are closed at the end, in a few seconds, with no process left."""
    venv = WorkerVecEnv(list(env_fns), **settings)
    pids = {process.pid for process in venv.processes}
    try:
        yield venv
    finally:
        pids |= {worker.process.pid for worker in venv.remotes if not worker.process._closed}
        begin = time.monotonic()
        venv.close()
        assert time.monotonic() - begin < AT_ONCE
        assert all_gone(pids, 1.0) == []


@pytest.fixture
def short_close(monkeypatch):
    """Let `close` wait only shortly for environments that will not end by themselves."""
    monkeypatch.setattr("hyperrl.sb3.workers._CLOSE_SECONDS", 0.2)


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


def test_signals_to_the_whole_run_do_not_end_the_workers():
    with workers(Faulty(), Faulty()) as venv:
        venv.reset()
        for process in venv.processes:
            for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
                os.kill(process.pid, getattr(signal, name))
        assert np.all(venv.step(ACTIONS)[0] == 1)


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


# ---------------------------------------------------------------------------------------- malformed returns

GOOD = np.zeros(3, np.float32)
MALFORMED = {
    "four values": (
        "step",
        (GOOD, 0.0, False, {}),
        r"4 values from step, where 5 values, \(observation, reward",
    ),
    "no tuple": ("step", [GOOD, 0.0, False, False, {}], r"an object of type list from step, where the tuple"),
    "shape": (
        "step",
        (np.zeros(4, np.float32), 0.0, False, False, {}),
        r"the observation of shape \(4,\) from step, where",
    ),
    "more axes": (
        "step",
        (np.zeros((1, 3)), 0.0, False, False, {}),
        r"the observation of shape \(1, 3\) .* space's shape \(3,\) is",
    ),
    "dtype": (
        "step",
        (np.array(["a"] * 3), 0.0, False, False, {}),
        r"the observation of dtype <U1 .* space's dtype float32 is",
    ),
    "complex": (
        "step",
        (np.zeros(3, complex), 0.0, False, False, {}),
        r"the observation of dtype complex128 from",
    ),
    "nothing": ("step", (None, 0.0, False, False, {}), r"the observation of dtype object from step"),
    "terminated": (
        "step",
        (GOOD, 0.0, 1, False, {}),
        r"terminated as 1 \(int\) from step, where True or False is",
    ),
    "truncated": ("step", (GOOD, 0.0, False, None, {}), r"truncated as None \(NoneType\) from step"),
    "reward text": (
        "step",
        (GOOD, "1", False, False, {}),
        r"the reward '1' \(str\) from step, where one number",
    ),
    "reward array": ("step", (GOOD, np.zeros(1), False, False, {}), r"the reward an array of shape \(1,\)"),
    "info list": (
        "step",
        (GOOD, 0.0, False, False, []),
        r"the info \[\] \(list\) from step, where a dict is right",
    ),
    "ragged": (
        "reset",
        ([[1.0], [1.0, 2.0], 3.0], {}),
        r"the observation \[.* from reset, where an array of shape",
    ),
    "no info": (
        "reset",
        GOOD,
        r"an array of shape \(3,\) and dtype float32 from reset, where the tuple \(obs",
    ),
    "info none": ("reset", (GOOD, None), r"the info None \(NoneType\) from reset, where a dict is right"),
    "after an end": (
        "reset",
        (GOOD,),
        r"1 values from the reset after an episode, where 2 values, \(observation",
    ),
}


@pytest.fixture(scope="module")
def pair():
    with workers(Faulty(), Faulty()) as venv:
        yield venv


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_return_is_refused(pair, kind):
    call, returned, sentence = MALFORMED[kind]
    pair.reset()
    pair.env_method("return_instead", call, returned, indices=1)
    if kind == "after an end":
        pair.env_method("return_instead", "step", (GOOD, 0.0, True, False, {}), indices=1)
    with pytest.raises(WorkerError, match=f"environment 1 returned {sentence}"):
        pair.reset() if call == "reset" and kind != "after an end" else pair.step(ACTIONS)


def test_returns_that_are_unusual_and_right(pair):
    pair.reset()
    pair.env_method(
        "return_instead", "step", ([1, 2, 3], np.float64(2.5), np.False_, np.True_, {}), indices=0
    )
    pair.env_method("return_instead", "step", (np.ones(3), np.array(3), False, False, {}), indices=1)
    observations, rewards, dones, infos = pair.step(ACTIONS)
    assert observations.dtype == np.float32
    np.testing.assert_array_equal(infos[0]["terminal_observation"], [1, 2, 3])
    assert rewards.tolist() == [2.5, 3.0]
    assert dones.tolist() == [True, False]


# -------------------------------------------------------------------------------------------------- restart


@pytest.mark.parametrize("fault", ["raise", "kill", "hang"])
def test_a_failed_worker_is_replaced_and_its_episode_counted_as_lost(fault, tmp_path):
    env_fns = [Faulty(), Faulty(fault, at=3, once=str(tmp_path / "once"))]
    with workers(*env_fns, restarts=1, step_timeout=HANG if fault == "hang" else 60.0) as venv:
        venv.seed(5)
        venv.set_options({"mass": 2.0})
        venv.reset()
        old = venv.processes[1].pid
        for _ in range(2):
            last = venv.step(ACTIONS)[0]
        with pytest.warns(
            UserWarning, match=r"environment 1 .* in step.*new process \(restart 1 of at most 1\)"
        ):
            observations, rewards, dones, infos = venv.step(ACTIONS)
        assert venv.restarted == 1
        assert not running(old)
        assert rewards.tolist() == [1.5, 0.0]
        assert dones.tolist() == [False, True]
        np.testing.assert_array_equal(observations, [[3, 3, 3], [0, 0, 0]])
        np.testing.assert_array_equal(infos[1]["terminal_observation"], last[1])
        assert infos[1]["TimeLimit.truncated"] is True
        assert infos[1]["worker_restarted"].startswith("environment 1 ")
        assert infos[0] == {"calls": 3, "TimeLimit.truncated": False}
        # The new episode does not repeat the old one, and is the same in every run.
        seed = int(np.random.SeedSequence([6, 1]).generate_state(1)[0])
        assert venv.reset_infos[1] == {"seed": seed}
        assert venv.get_attr("seeds")[1] == [(seed, {"mass": 2.0})]
        np.testing.assert_array_equal(venv.step(ACTIONS)[0], [[4, 4, 4], [1, 1, 1]])


def test_restarts_are_limited_over_the_whole_life():
    with workers(Faulty("raise", at=2), Faulty(), restarts=2) as venv:
        venv.seed(0)
        venv.reset()
        for expected in (1, 2):
            venv.step(ACTIONS)
            with pytest.warns(UserWarning, match=rf"restart {expected} of at most 2"):
                venv.step(ACTIONS)
            assert venv.restarted == expected
        seeds = [int(np.random.SeedSequence([0, count]).generate_state(1)[0]) for count in (1, 2)]
        assert len({0, *seeds}) == 3
        assert venv.reset_infos[0] == {"seed": seeds[1]}
        venv.step(ACTIONS)
        with pytest.raises(WorkerError, match="environment 0 raised ValueError in step"):
            venv.step(ACTIONS)
        assert venv.restarted == 2


def test_a_reset_that_fails_is_repeated_in_a_new_process(tmp_path):
    with workers(Faulty("kill", "reset", once=str(tmp_path / "once")), Faulty(), restarts=1) as venv:
        with pytest.warns(UserWarning, match="environment 0 died in reset"):
            assert venv.reset().shape == (2, 3)
        assert venv.restarted == 1
        assert venv.reset_infos == [{"seed": None}] * 2


def test_an_environment_that_always_fails_uses_up_the_restarts():
    with (
        workers(Faulty("raise", "reset"), Faulty(), restarts=2) as venv,
        pytest.warns(UserWarning, match=r"restart [12] of at most 2"),
        pytest.raises(WorkerError, match="environment 0 raised ValueError in reset"),
    ):
        venv.reset()


def test_a_worker_that_died_in_another_call_is_replaced_in_the_next_step():
    with workers(Faulty(), Faulty(), restarts=1) as venv:
        venv.reset()
        with pytest.raises(WorkerError, match="environment 1 died in env_method 'fail'"):
            venv.env_method("fail", "os_exit", indices=1)
        assert venv.restarted == 0
        with pytest.warns(UserWarning, match="restart 1 of at most 1"):
            dones = venv.step(ACTIONS)[2]
        assert dones.tolist() == [False, True]


def test_a_step_before_the_first_reset_is_no_lost_episode():
    with (
        workers(Faulty("raise"), restarts=1) as venv,
        pytest.raises(WorkerError, match="environment 0 raised ValueError in step"),
    ):
        venv.step(ACTIONS[:1])


# ---------------------------------------------------------------------------------- the end of the processes


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


def children(pid):
    """Return the process ids of all descendants."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


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


@pytest.mark.parametrize("method", METHODS)
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
