"""HyperPPO learns, for every architecture at once, and a run of it is resumed bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import HyperPPO, resume, train
from hyperrl.config import RunConfig
from hyperrl.environments import make_vec_env as make_native_env
from hyperrl.sb3.normalising import OnRawObservations
from hyperrl.train import restore_agent
from tests.agents.hyper_ppo.conftest import SMALL
from tests.sb3.toys import PointEnv


def errors_of(model):
    """The mean squared distance of each architecture's actions from the best ones, which PointEnv defines."""
    rows = np.random.default_rng(0).uniform(-1, 1, (400, 3)).astype(np.float32)
    best = 0.8 * rows[:, :2]
    return [
        float(np.square(model.predict(rows, deterministic=True, architecture=one)[0] - best).sum(1).mean())
        for one in SMALL
    ]


@pytest.mark.parametrize(
    ("generator", "rate"), [pytest.param("transformer", 1e-3, marks=pytest.mark.slow), ("nested", 3e-3)]
)
def test_every_architecture_learns_the_best_actions(generator, rate):
    model = HyperPPO(
        "MlpPolicy",
        make_vec_env(PointEnv, 16, seed=0),
        rate,
        n_steps=32,
        batch_size=128,
        n_epochs=5,
        n_architectures=4,
        gamma=0.0,
        desired_kl=0.02,
        seed=0,
        device="cpu",
        policy_kwargs={"architectures": SMALL, "generator": generator, "log_std_init": -0.5},
    )
    before = errors_of(model)
    model.learn(20_000)
    # Doing nothing costs 0.43, which is 0.8^2 * 2 / 3.
    assert min(before) > 0.2
    assert max(errors_of(model)) < 0.1


def test_a_resumed_run_is_the_run(tmp_path):
    config = RunConfig(
        "hyper-ppo",
        "Pendulum-v1",
        steps=256,
        n_envs=4,
        eval_episodes=1,
        eval_every=0,
        checkpoint_every=64,
        normalize=True,
        out=str(tmp_path / "straight"),
        agent_kwargs={
            "n_steps": 16,
            "batch_size": 32,
            "n_epochs": 2,
            "n_architectures": 2,
            "draw_every": 2,
            "desired_kl": 1e-4,
            "policy_kwargs": {"architectures": SMALL, "generator": "nested"},
        },
    )
    straight = train(config)
    # Between two draws: what was drawn continues too.
    stopped = train(dataclasses.replace(config, steps=192, out=str(tmp_path / "stopped")))
    resume(stopped.folder.path, steps=256)
    one, two = (restore_agent(run.folder.path) for run in (straight, stopped))
    for (name, ours), theirs in zip(
        one.policy.state_dict().items(), two.policy.state_dict().values(), strict=True
    ):
        assert th.equal(ours, theirs), name
    assert np.array_equal(one._sampler.visits, two._sampler.visits)
    assert one._sampler.visits.sum() == 2 * 2
    assert one._rate_factor == two._rate_factor != 1
    assert np.array_equal(one.architecture_returns.last, two.architecture_returns.last, equal_nan=True)
    for agent in (one, two):
        agent.env.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("generator", ["transformer", "nested"])
def test_most_architectures_balance_a_pendulum(generator, seed):
    # The acceptance test of the specification: four of five probes above the bar, for each of five seeds.
    venv = make_native_env("InvertedPendulum-v5", {}, 32, seed, native=True)
    model = HyperPPO(
        "MlpPolicy",
        venv,
        1e-3,
        n_steps=64,
        batch_size=512,
        n_epochs=5,
        desired_kl=0.01,
        seed=seed,
        device="cpu",
        policy_kwargs={"generator": generator},
    ).learn(150_000)
    probes = [model.policy.space[number] for number in range(0, len(model.policy.space), 10)]
    lengths = []
    test = make_native_env("InvertedPendulum-v5", {}, 5, 1000, native=True)
    for architecture in probes:
        acting = OnRawObservations(model, architecture=architecture)
        test.seed(7)
        observations, steps, on = test.reset(), np.zeros(5), np.ones(5, bool)
        while on.any():
            steps += on
            observations, _, dones, _ = test.step(acting.predict(observations, deterministic=True)[0])
            on &= ~dones
        lengths.append(steps.mean())
    assert np.mean(np.array(lengths) >= 800) >= 0.8
