"""The agents learn: a bandit with a known optimum at once, a swing-up in a slow test."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise

from hyperrl import HyperSAC, HyperTD3
from tests.sb3.toys import PointEnv

AGENTS = [HyperTD3, HyperSAC]


def noise(cls, size, sigma):
    return (
        {"action_noise": NormalActionNoise(np.zeros(size), np.full(size, sigma))} if cls is HyperTD3 else {}
    )


# Every day each agent and each condition once.
@pytest.mark.parametrize(
    ("cls", "condition"),
    [
        (HyperTD3, "state"),
        (HyperSAC, "action"),
        pytest.param(HyperTD3, "action", marks=pytest.mark.slow),
        pytest.param(HyperSAC, "state", marks=pytest.mark.slow),
    ],
)
def test_a_contextual_bandit_is_solved(cls, condition):
    critic = {"condition": condition, "hidden": [64], "trunk_hidden": [64], "features": 16}
    model = cls(
        "MlpPolicy",
        PointEnv(length=1),
        learning_rate=3e-3,
        learning_starts=150,
        batch_size=64,
        buffer_size=2000,
        gamma=0.1,
        policy_kwargs={"critic": critic, "net_arch": [32]},
        seed=0,
        device="cpu",
        **noise(cls, 2, 0.2),
    )
    test = Monitor(PointEnv(length=1))

    def regret():
        return -evaluate_policy(model, test, n_eval_episodes=100, warn=False)[0]

    before = regret()
    model.learn(900)
    # Squared distance to the best action: acting at random gives more than 1.
    assert regret() < 0.1 < before


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("cls", AGENTS)
def test_a_pendulum_is_swung_up(cls, seed):
    model = cls(
        "MlpPolicy",
        gym.make("Pendulum-v1"),
        learning_rate=1e-3,
        learning_starts=500,
        batch_size=128,
        gamma=0.98,
        policy_kwargs={"critic": "fast", "net_arch": [64, 64]},
        seed=seed,
        device="cpu",
        **noise(cls, 1, 0.2),
    )
    model.learn(6000)
    mean, _ = evaluate_policy(model, Monitor(gym.make("Pendulum-v1")), n_eval_episodes=20)
    # Random actions give about -1200; a pendulum that is swung up and held gives about -150.
    assert mean > -300
