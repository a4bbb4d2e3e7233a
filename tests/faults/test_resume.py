"""Killed anywhere, a run continues bit for bit (group B of the fault list), in real processes."""

import itertools
import json
import os
import random
import shutil
import signal
import time

import pytest

from hyperrl.run import RunFolder
from hyperrl.testing.digest import first_difference
from tests.faults.fork_server import wait_for
from tests.faults.small_runs import AGENTS, digests_of

EXIT_STATUS = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 75, "SIGKILL": -9}
EPISODE = 60  # Steps of an episode: evaluations of whole ones would take most of the time.
CHANGES = ("nothing", "hash seed", "working directory", "moved folder")


def every(*columns, daily):
    """All combinations; each that is not for every day is slow, because every one starts processes."""
    return [
        pytest.param(*row, marks=() if daily(*row) else pytest.mark.slow)
        for row in itertools.product(*columns)
    ]


def is_on_a_diagonal(agent, other, others, shift=0):
    """Choose as many pairs as there are agents, in which each agent and each of the others is there once."""
    return (AGENTS.index(agent) + others.index(other) + shift) % len(others) == 0


def saved_steps(out):
    """The step of the latest checkpoint, as far as there is one."""
    names = RunFolder(out).store.names()
    # A save that was killed before "latest" meant it is made again beside it, and has a second number.
    return int(names[-1].removeprefix("step-").partition(".")[0]) if names else -1


def strike(process, out, number, random_number, at=0):
    """Send a signal at some moment after the next checkpoint, which is not before a step."""
    before = max(saved_steps(out), at - 1)
    wait_for(lambda: saved_steps(out) > before)
    time.sleep(random_number.uniform(0, 0.02))
    process.kill(signal.Signals[number])
    return process.wait()


def assert_equal(out, expected):
    found = digests_of(out)
    assert first_difference(found, expected) is None
    steps = [line.split(",")[0] for line in (out / "eval" / "evaluations.csv").read_text().splitlines()]
    assert steps == ["steps", "0", "100", "200", "300", "320"]


# Every day each agent and each signal, with one environment and with several.
@pytest.mark.parametrize(
    ("agent", "number", "n_envs"),
    every(
        AGENTS,
        EXIT_STATUS,
        (1, 4),
        daily=lambda agent, number, n_envs: is_on_a_diagonal(
            agent, number, [*EXIT_STATUS], shift=n_envs // 4
        ),
    ),
)
def test_a_run_that_is_struck_once_ends_as_if_it_had_not_been(
    server, command, straight, tmp_path, agent, number, n_envs
):
    out = tmp_path / "run"
    random_number = random.Random(f"{agent} {number} {n_envs}")
    process = server.start(*command(agent, "Pendulum-v1", n_envs, out, episode=EPISODE))
    status = strike(process, out, number, random_number, at=random_number.choice(range(0, 200, 40)))
    if status != 0:  # It may have been at its end already.
        assert status == EXIT_STATUS[number], process.output()
        assert json.loads((out / "status.json").read_text())["state"] == (
            "running" if number == "SIGKILL" else "stopped"
        )
        resumed = server.run("resume", out)
        assert resumed.wait() == 0, resumed.output()
    assert_equal(out, straight(agent, "Pendulum-v1", n_envs, episode=EPISODE))


@pytest.mark.parametrize(
    ("agent", "env", "n_envs"),
    every(
        ["hyper-td3", "hyper-sac"],
        ["HalfCheetah-v5", "Hopper-v5"],
        [1, 4],
        daily=lambda *case: case in (("hyper-td3", "HalfCheetah-v5", 4), ("hyper-sac", "Hopper-v5", 1)),
    ),
)
def test_five_kills_in_a_row_change_nothing(server, command, straight, tmp_path, agent, env, n_envs):
    out = tmp_path / "run"
    random_number = random.Random(f"{agent} {env} {n_envs}")
    process = server.start(*command(agent, env, n_envs, out, episode=200))
    kills = 0
    for _ in range(5):
        kills += strike(process, out, "SIGKILL", random_number) == -9
        process = server.start("resume", out)
    process.wait()
    assert kills == 5
    assert_equal(out, straight(agent, env, n_envs, episode=200))


@pytest.mark.parametrize(
    ("agent", "change"),
    every(AGENTS, CHANGES, daily=lambda agent, change: is_on_a_diagonal(agent, change, CHANGES)),
)
def test_a_run_continues_anywhere(command, straight, server, other_server, tmp_path, agent, change):
    out, elsewhere = tmp_path / "run", tmp_path / "a new place" / "rün"
    process = server.start(*command(agent, "Pendulum-v1", 1, out, episode=EPISODE))
    assert strike(process, out, "SIGKILL", random.Random(0)) == -9
    if change == "moved folder":
        elsewhere.parent.mkdir()
        shutil.move(out, elsewhere)
        out = elsewhere
    host = other_server if change == "hash seed" else server
    inside = change == "working directory"
    resumed = host.run("resume", "run" if inside else out, cwd=tmp_path if inside else None)
    assert resumed.wait() == 0, resumed.output()
    assert_equal(out, straight(agent, "Pendulum-v1", 1, episode=EPISODE))


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_does_not_wait_for_the_end_of_an_evaluation(server, command, tmp_path, number):
    out = tmp_path / "run"
    process = server.start(*command("td3", "Pendulum-v1", 1, out), "--set", "eval_episodes=10000")
    wait_for(lambda: saved_steps(out) == 0)
    # It is in the evaluation before training, which takes minutes.
    time.sleep(0.2)
    process.kill(signal.Signals[number])
    struck = time.monotonic()
    assert process.wait() == EXIT_STATUS[number], process.output()
    assert time.monotonic() - struck < 20
    assert f"stopped by {number} after 0 steps, with a checkpoint" in process.output()
    assert not (out / "eval" / "evaluations.csv").exists()


def test_a_second_interrupt_ends_the_process_at_once(server, command, tmp_path):
    out = tmp_path / "run"
    process = server.start(*command("td3", "Pendulum-v1", 1, out), "--set", "gradient_steps=1000000")
    wait_for(lambda: saved_steps(out) == 40)
    # It makes updates for minutes: the first interrupt has to wait for them.
    time.sleep(0.2)
    process.kill(signal.SIGINT)
    wait_for(lambda: "press Ctrl-C again" in process.output())
    process.kill(signal.SIGINT)
    assert process.wait() == 130
    assert "Traceback" not in process.output()


def test_a_job_that_is_put_back_until_it_succeeds_does(server, command, tmp_path):
    out = tmp_path / "run"
    statuses = [server.run(*command("td3", "Pendulum-v1", 1, out)).wait()]
    statuses += [server.run("resume", out).wait() for _ in range(2)]
    assert statuses == [0, 0, 0]


@pytest.mark.parametrize(
    "number", ["SIGTERM", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGINT", "SIGUSR1"))]
)
def test_a_signal_to_all_processes_of_a_run_finds_its_workers_alive(
    server, command, straight, tmp_path, number
):
    out = tmp_path / "run"
    process = server.start(*command("td3", "Pendulum-v1", 2, out), "--workers")
    wait_for(lambda: saved_steps(out) >= 40)
    os.killpg(process.pid, signal.Signals[number])
    assert process.wait() == EXIT_STATUS[number], process.output()
    assert f"stopped by {number} after" in process.output()
    resumed = server.run("resume", out)
    assert resumed.wait() == 0, resumed.output()
    assert json.loads((out / "status.json").read_text())["state"] == "finished"


def test_a_run_whose_output_nobody_reads_any_more_still_stops_in_order(server, command, tmp_path):
    out = tmp_path / "run"
    process = server.start(*command("td3", "Pendulum-v1", 1, out), unread=(2,))
    wait_for(lambda: saved_steps(out) >= 0)
    process.kill(signal.SIGTERM)
    assert process.wait() == 143
    assert RunFolder(out).status()["state"] == "stopped"


def test_only_one_process_trains_in_a_folder(server, command, tmp_path):
    out = tmp_path / "run"
    arguments = command("td3", "Pendulum-v1", 1, out)
    arguments[arguments.index("--steps") + 1] = "100000"
    process = server.start(*arguments)
    wait_for(lambda: saved_steps(out) > 0)
    second = server.run("resume", out)
    assert second.wait() == 2
    assert f"is in use by process {process.pid} on" in second.output()
    doctor = server.run("doctor", out)
    assert f"in use by process {process.pid}" in doctor.output()
    process.kill(signal.SIGKILL)
    process.wait()
