"""What cannot be measured is refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl.errors import ConfigError, NonFiniteError, UnknownNameError, UnsupportedEnvError
from hyperrl.evaluation.gradient_quality import (
    GradientQualityConfig,
    UnsupportedModelError,
    critic_action_gradient,
    gradient_quality,
)
from tests.evaluation.analytic_tasks import Integrator, KnownCritic, Quadratic, constant_actor


def test_non_finite_critics_stop_with_their_name():
    model = constant_actor(Quadratic)
    model.critic = KnownCritic(lambda obs, actions: actions.sum(dim=1, keepdim=True) * float("nan"))
    with pytest.raises(NonFiniteError, match="TD3's critic is not finite"):
        gradient_quality(model, Quadratic, GradientQualityConfig(states=1, max_start_step=0))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"states": 0}, "states must be a whole number of at least 1"),
        ({"actions": 1}, "actions must be a whole number of at least 2"),
        ({"noise_std": 0.0}, "noise_std must be a number above 0"),
        ({"noise_std": float("nan")}, "noise_std must be"),
        ({"hold_steps": 1.5}, "hold_steps must be a whole number"),
        ({"confidence": 95}, "confidence must be a number from"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_numbers_out_of_range_are_refused(setting, words):
    with pytest.raises(ConfigError, match=words):
        GradientQualityConfig(**setting)


def test_models_and_environments_that_do_not_fit_are_refused():
    with pytest.raises(UnsupportedModelError, match=r"as TD3 and SAC have them; PPO has none"):
        gradient_quality(PPO("MlpPolicy", Integrator(), device="cpu", n_steps=8, batch_size=8), Integrator())
    model = constant_actor(Integrator)
    with pytest.raises(UnknownNameError, match=r"did you mean 'HalfCheetah-v5'"):
        gradient_quality(model, "HalfCheeta-v5")
    with pytest.raises(UnsupportedEnvError, match="the agent acts in Box"):
        gradient_quality(model, "Reacher-v5")
    with pytest.raises(UnsupportedEnvError, match="got a DummyVecEnv"):
        gradient_quality(model, DummyVecEnv([Integrator]))

    class Wider(Integrator):
        def __init__(self):
            super().__init__()
            self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float64)

    with pytest.raises(UnsupportedEnvError, match="the agent observes Box"):
        gradient_quality(model, Wider())

    class Doomed(Integrator):
        def step(self, action):
            return self.position.copy(), 0.0, True, False, {}

    with pytest.raises(UnsupportedEnvError, match=r"none of 3 episodes .* below 1000"):
        gradient_quality(model, Doomed(), GradientQualityConfig(max_attempts=3))

    class Vector(th.nn.Module):
        def forward(self, obs, actions):
            return actions[None]

    model.critic = Vector()
    with pytest.raises(UnsupportedModelError, match="one Q-value per state and action"):
        critic_action_gradient(model, np.zeros((2, 3)), np.zeros((2, 3)))
