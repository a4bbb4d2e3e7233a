"""Runs of about a second, the commands that make them, and the state in which they end."""

from __future__ import annotations

from hyperrl.testing.digest import state_digests
from hyperrl.train import restore_agent

AGENTS = ("hyper-td3", "hyper-sac", "td3", "sac")
STEPS = 320
SEED = 3

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


def settings_of(agent):
    """The settings of an agent's runs, in TOML."""
    noise = 'action_noise = { kind = "normal", sigma = 0.1 }\n' if agent.endswith("td3") else ""
    critic = SMALL_CRITIC if agent.startswith("hyper") else ""
    return SETTINGS + noise + critic


def digests_of(out, steps=STEPS):
    """The digests of everything that a run's last checkpoint holds."""
    agent = restore_agent(out)
    try:
        assert agent.num_timesteps == steps
        return state_digests(agent)
    finally:
        agent.env.close()
