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
def command(tmp_path_factory):
    """Builds the arguments of a small run of an agent."""
    folder = tmp_path_factory.mktemp("config")
    for agent in AGENTS:
        (folder / f"{agent}.toml").write_text(settings_of(agent))

    def build(agent, env, n_envs, out, steps=STEPS, seed=SEED):
        config = folder / f"{agent}.toml"
        flags = ["--steps", steps, "--n-envs", n_envs, "--seed", seed, "--device", "cpu"]
        return ["train", agent, "--env", env, "--config", str(config), "--out", str(out), *map(str, flags)]

    return build


@pytest.fixture(scope="session")
def straight(server, command, tmp_path_factory):
    """The state at the end of runs that nothing disturbs, each of them run once."""
    known = {}

    def digests(agent, env, n_envs, steps=STEPS):
        if (agent, env, n_envs, steps) not in known:
            out = tmp_path_factory.mktemp("straight") / "run"
            process = server.run(*command(agent, env, n_envs, out, steps))
            assert process.wait() == 0, process.output()
            known[agent, env, n_envs, steps] = digests_of(out, steps)
        return known[agent, env, n_envs, steps]

    return digests
