"""The same seed trains the same bits, whatever else is set; another seed others (group I of the fault list)."""

from __future__ import annotations

import functools
import logging
import random
import time

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl.agent_arguments import build_agent, build_agent_kwargs
from hyperrl.cli import main
from hyperrl.config import RunConfig
from hyperrl.environments import make_env, make_training_envs
from hyperrl.registry import agents
from hyperrl.run import RunFolder
from hyperrl.run.seeding import seeds_of_run
from hyperrl.sb3.workers import WorkerVecEnv
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl_envs.saved_state import capture_plain, restore_plain
from tests.faults.small_runs import AGENTS, SEED, digests_of

ENV = "Pendulum-v1"
STEPS = 240
every_agent = pytest.mark.parametrize("agent", AGENTS)
one_and_three = pytest.mark.parametrize("n_envs", [1, 3])


@pytest.fixture(scope="module")
def expected(straight):
    """The state at the end of a run in a process of its own."""
    return functools.partial(straight, env=ENV, steps=STEPS)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def trained(server, arguments, out):
    """Run a command in a process of its own, and return the state at its end."""
    process = server.run(*arguments)
    assert process.wait() == 0, process.output()
    return digests_of(out, STEPS)


@one_and_three
@every_agent
def test_the_same_seed_twice(server, command, expected, out, agent, n_envs):
    found = trained(server, command(agent, ENV, n_envs, out, STEPS), out)
    assert first_difference(found, expected(agent, n_envs=n_envs)) is None


@every_agent
def test_another_hash_seed(other_server, command, expected, out, agent):
    found = trained(other_server, command(agent, ENV, 3, out, STEPS), out)
    assert first_difference(found, expected(agent, n_envs=3)) is None


@every_agent
def test_another_seed_differs_in_every_part(server, command, expected, out, agent):
    found = trained(server, command(agent, ENV, 3, out, STEPS, seed=SEED + 1), out)
    same = {name for name, digest in expected(agent, n_envs=3).items() if found.get(name) == digest}
    for part in (
        "policy.actor.",
        "policy.critic.",
        "policy.critic_target.",
        "buffer.observations",
        "buffer.actions",
        "buffer.rewards",
        "state.optimizers.actor.optimizer.state.state.0.exp_avg",
        "state.last._last_obs",
        "state.generators.torch",
        "state.generators.numpy",
        "state.generators.python",
    ):
        parts = {name for name in found if name.startswith(part)}
        assert parts - same, part


WITHOUT_EFFECT = {
    "no evaluations": ["--eval-every", "0"],
    "many evaluations": ["--eval-every", "30", "--eval-episodes", "2"],
    "no checkpoints": ["--checkpoint-every", "0"],
    "many checkpoints": ["--checkpoint-every", "12"],
}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
@every_agent
def test_what_a_run_does_beside_training_has_no_effect(command, expected, out, agent, name):
    assert main([*command(agent, ENV, 1, out, STEPS), *WITHOUT_EFFECT[name]]) == 0
    table = (out / "eval" / "evaluations.csv").read_text().splitlines()
    assert len(table) - 1 == {"no evaluations": 2, "many evaluations": 2 * 9}.get(name, 4)
    assert first_difference(digests_of(out, STEPS), expected(agent, n_envs=1)) is None


@every_agent
def test_the_progress_bar_has_no_effect(monkeypatch, capsys, command, expected, out, agent):
    monkeypatch.setattr("hyperrl.run.callbacks.sys.stderr.isatty", lambda: True)
    assert main(command(agent, ENV, 1, out, STEPS)) == 0
    assert "240/240" in capsys.readouterr().err
    assert first_difference(digests_of(out, STEPS), expected(agent, n_envs=1)) is None


@every_agent
def test_the_log_level_has_no_effect(caplog, command, expected, out, agent):
    with caplog.at_level(logging.DEBUG):
        assert main([*command(agent, ENV, 1, out, STEPS), "--set", "verbose=2"]) == 0
    assert first_difference(digests_of(out, STEPS), expected(agent, n_envs=1)) is None


@every_agent
def test_what_the_process_did_before_has_no_effect(command, expected, out, agent):
    random.seed(11), np.random.seed(12), torch.manual_seed(13)
    assert main(command(agent, ENV, 3, out, STEPS)) == 0
    assert first_difference(digests_of(out, STEPS), expected(agent, n_envs=3)) is None


def learned(config, vec_env):
    """The state after learning without a run around it: no evaluation, checkpoint, guard, log or signal."""
    seeds = seeds_of_run(config.seed, config.eval_episodes)
    settings = {
        "seed": seeds.agent,
        "device": config.device,
        **build_agent_kwargs(config.agent_kwargs, vec_env.action_space.shape[0]),
    }
    agent = build_agent(config.agent, agents.get(config.agent), config.policy, vec_env, settings)
    vec_env.seed(seeds.envs)
    try:
        return state_digests(agent.learn(config.steps))
    finally:
        vec_env.close()


@pytest.fixture(scope="module")
def config_of(command, tmp_path_factory):
    """The configuration of a run."""

    def read(agent, n_envs):
        out = tmp_path_factory.mktemp("config") / "run"
        arguments = command(agent, ENV, n_envs, out, STEPS)
        return RunConfig.from_toml(_printed([*arguments, "--print-config"]))

    return read


def _printed(arguments):
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert main(arguments) == 0
    return text.getvalue()
