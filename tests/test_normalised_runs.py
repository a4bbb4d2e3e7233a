"""Runs that normalise observations: trained, resumed, evaluated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hyperrl import load_agent, resume, train
from hyperrl.config import RunConfig
from hyperrl.environments import make_env
from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.evaluate import evaluate
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.run.seeding import seeds_of_evaluation
from hyperrl.train import restore_agent

SIZES = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}


@pytest.fixture
def config(tmp_path):
    return RunConfig(
        "ppo",
        "Pendulum-v1",
        steps=64,
        n_envs=2,
        eval_episodes=1,
        eval_every=0,
        checkpoint_every=32,
        normalize=True,
        out=str(tmp_path / "run"),
        agent_kwargs=SIZES,
    )


def test_an_evaluation_acts_on_the_statistics_of_training(config):
    run = train(config)
    trained = restore_agent(run.folder.path)
    loaded, _ = load_agent(run.folder)
    ours, theirs = (agent.get_vec_normalize_env().obs_rms for agent in (trained, loaded))
    assert np.array_equal(ours.mean, theirs.mean)
    assert np.array_equal(ours.var, theirs.var)
    assert ours.count > 60
    normaliser = trained.get_vec_normalize_env()

    class Normalised:
        def predict(self, observation, *arguments):
            return trained.predict(normaliser.normalize_obs(observation), *arguments)

    seeds = seeds_of_evaluation(0, 0, 2)
    expected = play_episodes(Normalised(), make_env("Pendulum-v1"), seeds)
    assert [e.episode_return for e in evaluate(run.folder.path, 2).episodes] == [
        e.episode_return for e in expected
    ]
    for agent in (trained, loaded):
        agent.env.close()


def test_a_resumed_run_has_the_statistics_of_a_straight_one(config, tmp_path):
    straight = train(dataclasses.replace(config, out=str(tmp_path / "straight")))
    stopped = train(dataclasses.replace(config, steps=32))
    resume(stopped.folder.path, steps=64)
    agents = [restore_agent(run.folder.path) for run in (straight, stopped)]
    one, two = (agent.get_vec_normalize_env() for agent in agents)
    assert np.array_equal(one.obs_rms.mean, two.obs_rms.mean)
    assert np.array_equal(one.ret_rms.var, two.ret_rms.var)
    for agent in agents:
        agent.env.close()


def test_rewards_are_discounted_as_by_the_agent(config):
    run = train(dataclasses.replace(config, agent_kwargs={**SIZES, "gamma": 0.9}))
    agent = restore_agent(run.folder.path)
    assert agent.get_vec_normalize_env().gamma == 0.9
    agent.env.close()


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        (1, ConfigError, "normalize must be true, false or a table"),
        ({"norm_obs": 1}, ConfigError, "normalize.norm_obs must be true or false, got 1"),
        ({"clip_obs": -1.0}, ConfigError, "normalize.clip_obs must be"),
        ({"clip_ob": 1.0}, UnknownNameError, "setting of normalize 'clip_ob', did you mean 'clip_obs'"),
    ],
)
def test_wrong_settings_are_refused(value, error, sentence):
    with pytest.raises(error, match=sentence):
        RunConfig("ppo", "Pendulum-v1", normalize=value)


def test_several_seeds_cannot_share_statistics():
    with pytest.raises(ConfigError, match="leave normalize out"):
        RunConfig("hyper-td3", "Pendulum-v1", seeds=2, normalize=True)


def test_settings_survive_toml():
    config = RunConfig("ppo", "Pendulum-v1", normalize={"norm_reward": False, "clip_obs": 5.0})
    assert RunConfig.from_toml(config.to_toml()) == config
