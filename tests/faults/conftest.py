"""Fixtures of the tests that inject faults into real processes."""

from __future__ import annotations

import pytest

from tests.faults.fork_server import ForkServer
from tests.faults.small_runs import AGENTS, SEED, STEPS, digests_of, settings_of


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A process that forks `hyperrl` commands."""
    server = ForkServer(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def other_server(tmp_path_factory):
    """Another one, in which sets and dictionaries of objects have another order."""
    server = ForkServer(tmp_path_factory.mktemp("other"), PYTHONHASHSEED="7")
    yield server
    server.close()


@pytest.fixture(scope="session")
def config_file(tmp_path_factory):
    """Gives the file with the settings of an agent's small runs."""
    folder = tmp_path_factory.mktemp("config")
    for agent in AGENTS:
        (folder / f"{agent}.toml").write_text(settings_of(agent))
    return lambda agent: folder / f"{agent}.toml"


@pytest.fixture(scope="session")
def command(config_file):
    """Builds the arguments of a small run of an agent."""

    def build(agent, env, n_envs, out, steps=STEPS, seed=SEED, episode=None):
        flags = ["--steps", steps, "--n-envs", n_envs, "--seed", seed, "--device", "cpu"]
        files = ["--config", config_file(agent), "--out", out]
        shorter = [] if episode is None else ["--set", f"env_kwargs.max_episode_steps={episode}"]
        return ["train", agent, "--env", env, *map(str, [*files, *flags, *shorter])]

    return build


@pytest.fixture(scope="session")
def straight(server, command, tmp_path_factory):
    """The state at the end of runs that nothing disturbs, each of them run once."""
    known = {}

    def digests(agent, env, n_envs, steps=STEPS, episode=None):
        run = (agent, env, n_envs, steps, episode)
        if run not in known:
            out = tmp_path_factory.mktemp("straight") / "run"
            process = server.run(*command(agent, env, n_envs, out, steps, episode=episode))
            assert process.wait() == 0, process.output()
            known[run] = digests_of(out, steps)
        return known[run]

    return digests


@pytest.fixture
def short_close(monkeypatch):
    """Let `WorkerVecEnv.close` wait only shortly for environments that will not end by themselves."""
    monkeypatch.setattr("hyperrl.sb3.workers._CLOSE_SECONDS", 0.2)
