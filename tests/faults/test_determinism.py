"""The same seed trains the same bits, whatever else is set, another seed others (group I of the faults)."""

from __future__ import annotations

import dataclasses
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
from hyperrl.environments import make_env, make_training_envs
from hyperrl.presets import resolve
from hyperrl.registry import agents
from hyperrl.run.seeding import seeds_of_run
from hyperrl.sb3.workers import WorkerVecEnv
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl_envs.saved_state import capture_plain, restore_plain
from tests.faults.small_runs import AGENTS, SEED, digests_of

ENV = "Pendulum-v1"
STEPS = 180
N_ENVS = 3
EPISODE = 50  # Steps of an episode, so that some end while training.
every_agent = pytest.mark.parametrize("agent", AGENTS)
# What is the same code for all of them is tried on one of each family.
two_agents = pytest.mark.parametrize("agent", ["hyper-td3", "sac"])


@pytest.fixture(scope="module")
def expected(straight):
    """The state at the end of a run in a process of its own."""
    return lambda agent, n_envs=N_ENVS: straight(agent, ENV, n_envs, STEPS, EPISODE)


@pytest.fixture(scope="module")
def small(command):
    """The arguments of such a run."""

    def build(agent, out, n_envs=N_ENVS, seed=SEED):
        return command(agent, ENV, n_envs, out, STEPS, seed, EPISODE)

    return build


@pytest.fixture(scope="module")
def run_here(small):
    """Makes a run in this process, with more flags, and returns the state at its end."""

    def run(agent, out, *flags):
        assert main([*small(agent, out), *flags]) == 0
        return digests_of(out, STEPS)

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def run_in(server, arguments, out):
    """Make a run in a process of its own, and return the state at its end."""
    process = server.run(*arguments)
    assert process.wait() == 0, process.output()
    return digests_of(out, STEPS)


# Several environments have all that one has; one alone is tried on every agent where time matters less.
@pytest.mark.parametrize(
    ("agent", "n_envs"),
    [
        *((agent, N_ENVS) for agent in AGENTS),
        (AGENTS[0], 1),
        *(pytest.param(agent, 1, marks=pytest.mark.slow) for agent in AGENTS[1:]),
    ],
)
def test_the_same_seed_twice(server, small, expected, out, agent, n_envs):
    found = run_in(server, small(agent, out, n_envs), out)
    assert first_difference(found, expected(agent, n_envs)) is None


@every_agent
def test_another_hash_seed(other_server, small, expected, out, agent):
    found = run_in(other_server, small(agent, out), out)
    assert first_difference(found, expected(agent)) is None


PARTS = (
    "policy.actor.",
    "policy.critic.",
    "policy.critic_target.",
    "buffer.",
    "state.optimizers.actor.optimizer.state.state.0.exp_avg",
    "state.last._last_obs",
    "state.env.envs",
    "state.generators.python",
    "state.generators.numpy",
    "state.generators.torch",
)


@every_agent
def test_another_seed_differs_in_every_part(server, small, expected, out, agent):
    found = run_in(server, small(agent, out, seed=SEED + 1), out)
    differing = {name for name, digest in expected(agent).items() if found.get(name) != digest}
    for part in PARTS:
        assert any(name.startswith(part) for name in differing), part


BESIDE = {
    "no evaluations": ("--eval-every", "0"),
    "many evaluations": ("--eval-every", "45", "--eval-episodes", "2"),
    "no checkpoints": ("--checkpoint-every", "0"),
    "many checkpoints": ("--checkpoint-every", "9"),
}
EVALUATIONS = {"no evaluations": 2, "many evaluations": 2 * 5}


@pytest.mark.parametrize("name", BESIDE)
@two_agents
def test_what_a_run_does_beside_training_has_no_effect(run_here, expected, out, agent, name):
    found = run_here(agent, out, *BESIDE[name])
    assert first_difference(found, expected(agent)) is None
    table = (out / "eval" / "evaluations.csv").read_text().splitlines()
    assert len(table) - 1 == EVALUATIONS.get(name, 3)


@two_agents
def test_the_progress_bar_has_no_effect(monkeypatch, capsys, run_here, expected, out, agent):
    monkeypatch.setattr("hyperrl.run.callbacks.sys.stderr.isatty", lambda: True)
    found = run_here(agent, out)
    assert f"{STEPS}/{STEPS}" in capsys.readouterr().err
    assert first_difference(found, expected(agent)) is None


@two_agents
def test_the_log_level_has_no_effect(caplog, run_here, expected, out, agent):
    with caplog.at_level(logging.DEBUG):
        assert first_difference(run_here(agent, out), expected(agent)) is None


@two_agents
def test_what_the_process_did_before_has_no_effect(run_here, expected, out, agent):
    random.seed(11)
    np.random.seed(12)
    torch.manual_seed(13)
    assert first_difference(run_here(agent, out), expected(agent)) is None


@pytest.fixture(scope="module")
def config_of(config_file):
    """The configuration of an agent's runs."""
    flags = {"env": ENV, "steps": STEPS, "n_envs": N_ENVS, "seed": SEED, "device": "cpu"}
    flags["env_kwargs"] = {"max_episode_steps": EPISODE}
    return lambda agent: resolve(agent, flags, file=config_file(agent)).config


def learned(config, vec_env):
    """The state after learning without a run around it: no evaluation, checkpoint, guard, log or signal."""
    seeds = seeds_of_run(config.seed, config.eval_episodes)
    kwargs = build_agent_kwargs(config.agent_kwargs, vec_env.action_space.shape[0])
    settings = {"seed": seeds.agent, "device": config.device, **kwargs}
    agent = build_agent(config.agent, agents.get(config.agent), config.policy, vec_env, settings)
    vec_env.seed(seeds.envs)
    try:
        return state_digests(agent.learn(config.steps))
    finally:
        vec_env.close()


@every_agent
def test_the_run_around_training_has_no_effect(config_of, expected, agent):
    config = config_of(agent)
    found = learned(config, make_training_envs(config, seeds_of_run(config.seed, 1).envs))
    assert first_difference(found, expected(agent)) is None


@every_agent
def test_environments_may_be_built_in_any_order(config_of, expected, agent):
    config = config_of(agent)
    envs = {}
    for index in (2, 0, 1):
        envs[index] = Monitor(make_env(ENV, config.env_kwargs))
        envs[index].action_space.seed(seeds_of_run(config.seed, 1).envs + index)
    found = learned(config, DummyVecEnv([functools.partial(envs.get, index) for index in range(N_ENVS)]))
    assert first_difference(found, expected(agent)) is None


def test_an_environment_does_not_depend_on_how_many_there_are(config_of):
    first = []
    for n_envs in (1, 2, 5):
        config = dataclasses.replace(config_of("td3"), n_envs=n_envs)
        vec_env = make_training_envs(config, 4)
        vec_env.seed(4)
        first.append(vec_env.reset())
    for observations in first:
        np.testing.assert_array_equal(observations, first[-1][: len(observations)])
    assert len(np.unique(first[-1], axis=0)) == 5


class Slow(gym.Wrapper):
    """Answers after a while."""

    def __init__(self, env, seconds):
        super().__init__(env)
        self.seconds = seconds

    def step(self, action):
        time.sleep(self.seconds)
        return self.env.step(action)

    def snapshot_state(self):
        return {}

    def restore_snapshot(self, snapshot):
        assert snapshot == {}


def assert_same_training(first, second):
    """Compare all but what belongs to the class that steps the environments.

    The actions of the warm-up are drawn from an action space, which in one process is the first environment's
    own object.
    """
    others = ("state.env.layers", "state.env.envs[0].spaces[0]")
    first, second = (
        {name: digest for name, digest in digests.items() if not name.startswith(others)}
        for digests in (first, second)
    )
    assert first_difference(first, second) is None
    assert any(name.startswith("state.env.envs[2].") for name in first)


@every_agent
def test_workers_give_what_one_process_gives_whoever_answers_first(config_of, agent):
    config = config_of(agent)
    functions = [
        lambda seconds=seconds: Monitor(Slow(make_env(ENV, config.env_kwargs), seconds))
        for seconds in (2e-3, 0.0, 1e-3)
    ]
    together = learned(config, DummyVecEnv(functions))
    workers = WorkerVecEnv(functions, start_method="fork", capture=capture_plain, restore=restore_plain)
    assert_same_training(learned(config, workers), together)


def test_a_run_with_workers_gives_what_one_without_gives(server, small, expected, out):
    found = run_in(server, [*small("hyper-td3", out), "--workers"], out)
    assert_same_training(found, expected("hyper-td3"))
