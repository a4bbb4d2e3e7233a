"""Killed anywhere, a run continues bit for bit (group B of the fault list), in real processes."""

import json
import random
import shutil
import signal
import time

import pytest
from fork_server import ForkServer, wait_for

from hyperrl.run import RunFolder
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import restore_agent

AGENTS = ("hyper-td3", "hyper-sac", "td3", "sac")
EXIT_STATUS = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 75, "SIGKILL": -9}
STEPS = 320

SETTINGS = """
checkpoint_every = 40
eval_every = 100
eval_episodes = 1

[agent]
learning_rate = 1e-3
buffer_size = 200
learning_starts = 40
batch_size = 8
policy_kwargs.net_arch = [8]
"""
SMALL_CRITIC = 'policy_kwargs.critic = { preset = "fast", hidden = [8], trunk_hidden = [8], features = 4 }\n'


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Builds the arguments of a small run of an agent."""
    folder = tmp_path_factory.mktemp("config")
    for agent in AGENTS:
        noise = 'action_noise = { kind = "normal", sigma = 0.1 }\n' if agent.endswith("td3") else ""
        critic = SMALL_CRITIC if agent.startswith("hyper") else ""
        (folder / f"{agent}.toml").write_text(SETTINGS + noise + critic)

    def build(agent, env, n_envs, out):
        config = folder / f"{agent}.toml"
        flags = ["--steps", STEPS, "--n-envs", n_envs, "--seed", 3, "--device", "cpu"]
        return ["train", agent, "--env", env, "--config", config, "--out", out, *map(str, flags)]

    return build


@pytest.fixture(scope="module")
def straight(server, command, tmp_path_factory):
    """The state at the end of runs that nothing disturbs, each of them run once."""
    known = {}

    def digests(agent, env, n_envs):
        if (agent, env, n_envs) not in known:
            out = tmp_path_factory.mktemp("straight") / "run"
            process = server.run(*command(agent, env, n_envs, out))
            assert process.wait() == 0, process.output()
            known[agent, env, n_envs] = digests_of(out)
        return known[agent, env, n_envs]

    return digests


def digests_of(out):
    agent = restore_agent(out)
    try:
        assert agent.num_timesteps == STEPS
        return state_digests(agent)
    finally:
        agent.env.close()


def saved_steps(out):
    """The step of the latest checkpoint, as far as there is one."""
    names = RunFolder(out).store.names()
    return int(names[-1].removeprefix("step-")) if names else -1


def strike(process, out, number, random_number):
    """Send a signal at some moment after the next checkpoint."""
    before = saved_steps(out)
    wait_for(lambda: saved_steps(out) > before)
    time.sleep(random_number.uniform(0, 0.08))
    process.kill(signal.Signals[number])
    return process.wait()


def assert_equal(out, expected):
    found = digests_of(out)
    assert first_difference(found, expected) is None
    steps = [line.split(",")[0] for line in (out / "eval" / "evaluations.csv").read_text().splitlines()]
    assert steps == ["steps", "0", "100", "200", "300", "320"]


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("number", list(EXIT_STATUS))
@pytest.mark.parametrize("agent", AGENTS)
def test_a_run_that_is_struck_once_ends_as_if_it_had_not_been(
    server, command, straight, tmp_path, agent, number, n_envs
):
    out = tmp_path / "run"
    random_number = random.Random(f"{agent} {number} {n_envs}")
    process = server.start(*command(agent, "Pendulum-v1", n_envs, out))
    status = strike(process, out, number, random_number)
    if status != 0:  # It may have been at its end already.
        assert status == EXIT_STATUS[number], process.output()
        assert json.loads((out / "status.json").read_text())["state"] == (
            "running" if number == "SIGKILL" else "stopped"
        )
        resumed = server.run("resume", out)
        assert resumed.wait() == 0, resumed.output()
    assert_equal(out, straight(agent, "Pendulum-v1", n_envs))


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("env", ["HalfCheetah-v5", "Hopper-v5"])
@pytest.mark.parametrize("agent", ["hyper-td3", "hyper-sac"])
def test_five_kills_in_a_row_change_nothing(server, command, straight, tmp_path, agent, env, n_envs):
    out = tmp_path / "run"
    random_number = random.Random(f"{agent} {env} {n_envs}")
    process = server.start(*command(agent, env, n_envs, out))
    kills = 0
    for _ in range(5):
        kills += strike(process, out, "SIGKILL", random_number) == -9
        process = server.start("resume", out)
    process.wait()
    assert kills == 5
    assert_equal(out, straight(agent, env, n_envs))


def test_a_run_can_move_and_continue_anywhere(command, straight, server, tmp_path, tmp_path_factory):
    out, elsewhere = tmp_path / "run", tmp_path / "a new place" / "rün"
    process = server.start(*command("hyper-td3", "Pendulum-v1", 1, out))
    assert strike(process, out, "SIGKILL", random.Random(0)) == -9
    elsewhere.parent.mkdir()
    shutil.move(out, elsewhere)
    other = ForkServer(tmp_path_factory.mktemp("other"), PYTHONHASHSEED="7")
    try:
        resumed = other.run("resume", elsewhere, cwd=tmp_path)
        assert resumed.wait() == 0, resumed.output()
    finally:
        other.close()
    assert_equal(elsewhere, straight("hyper-td3", "Pendulum-v1", 1))


def test_a_second_interrupt_ends_the_process_at_once(server, command, tmp_path):
    out = tmp_path / "run"
    arguments = command("td3", "Pendulum-v1", 1, out)
    process = server.start(*arguments, "--set", "eval_episodes=10000")
    wait_for((out / "status.json").exists)
    wait_for(lambda: "running" in (out / "status.json").read_text())
    # It is in the evaluation before training, which takes minutes: the first interrupt has to wait for it.
    time.sleep(0.2)
    process.kill(signal.SIGINT)
    wait_for(lambda: "press Ctrl-C again" in process.output())
    process.kill(signal.SIGINT)
    assert process.wait() == 130
    assert "Traceback" not in process.output()


def test_only_one_process_trains_in_a_folder(server, command, tmp_path):
    out = tmp_path / "run"
    process = server.start(*command("td3", "Pendulum-v1", 1, out), "--set", "steps=100000")
    wait_for(lambda: saved_steps(out) > 0)
    second = server.run("resume", out)
    assert second.wait() == 2
    assert f"is in use by process {process.pid} on" in second.output()
    doctor = server.run("doctor", out)
    assert f"in use by process {process.pid}" in doctor.output()
    process.kill(signal.SIGKILL)
    process.wait()
