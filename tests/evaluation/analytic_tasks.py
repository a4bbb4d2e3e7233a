"""Tasks whose gradients are known in closed form, and agents whose value functions are given."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import TD3

GAMMA = 0.9
SLOPES = np.array([0.5, -1.0, 2.0])
LOW, HIGH = np.array([-2.0, -1.0, 0.0], np.float32), np.array([4.0, 1.0, 1.0], np.float32)


class SnapshotEnv(gym.Env):
    """The parts that both analytic tasks share: position x in R³, moved by the action."""

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = spaces.Box(LOW, HIGH)
        self.position = np.zeros(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.normal(size=3)
        return self.position.copy(), {}

    def snapshot_state(self):
        return self.position.copy()

    def restore_snapshot(self, snapshot):
        self.position = snapshot.copy()


class Integrator(SnapshotEnv):
    """x' = x + a with reward SLOPES·x': every return is linear in the held action."""

    def step(self, action):
        self.position = self.position + action
        return self.position.copy(), float(SLOPES @ self.position), False, False, {}


class Quadratic(SnapshotEnv):
    """One step with the reward -|a - x|², in the environment's units."""

    def step(self, action):
        return self.position.copy(), -float(np.sum((action - self.position) ** 2)), True, False, {}


class KnownCritic(th.nn.Module):
    """Q-functions given as functions of observations and environment actions; the first is Q1."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, obs, actions):
        low, high = th.as_tensor(LOW), th.as_tensor(HIGH)
        unscaled = low + 0.5 * (actions + 1) * (high - low)
        return tuple(function(obs.float(), unscaled) for function in self.functions)


def constant_actor(build, action=(0.2, -0.4, 0.6)):
    """Return a TD3 model whose policy ignores the observation, with `action` in the critic's units."""
    model = TD3("MlpPolicy", build(), gamma=GAMMA, seed=0, device="cpu", policy_kwargs={"net_arch": [8]})
    with th.no_grad():
        for parameter in model.actor.parameters():
            parameter.zero_()
        model.actor.mu[-2].bias.copy_(th.atanh(th.tensor(action)))
    return model


def minus_distance(obs, actions):
    return -((actions - obs) ** 2).sum(dim=1, keepdim=True)
