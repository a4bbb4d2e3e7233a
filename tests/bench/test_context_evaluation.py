"""Playing in many contexts together is playing in each alone, and a measurement of it fits its table."""

from __future__ import annotations

import numpy as np
from stable_baselines3 import PPO

from hyperrl.bench.context_evaluation import CONTEXTS, SUITES, _play_alone, _play_together, measure
from hyperrl.environments import make_env, make_vec_env


def test_both_ways_play_the_same_episodes():
    settings = {"append": "flat", "max_episode_steps": 6, "terminate_when_unhealthy": False}
    alone, together = make_env(SUITES[0], settings), make_vec_env(SUITES[0], settings, 4, 0, native=True)
    policy = PPO("MlpPolicy", alone, seed=0, device="cpu", n_steps=64)
    contexts = np.array([[0.75, 1.25], [1.0, 1.0], [1.25, 0.75], [1.25, 1.25]])
    found, expected = (
        play(env, policy, contexts, 5) for play, env in ((_play_together, together), (_play_alone, alone))
    )
    # A network's last bits depend on how many rows it is given.
    assert np.allclose(found, expected, atol=1e-4)
    assert len(set(np.round(found, 3))) == 4


def test_a_row_says_what_was_measured():
    row = measure(SUITES[0], rounds=1, steps=2)
    assert (row["env"], row["contexts"], row["steps"], row["floor"]) == (SUITES[0], CONTEXTS, 2, 1.5)
    assert row["speedup"] == row["speedup_min"] == row["speedup_max"] > 0
    assert row["gate"] == ("ok" if row["speedup"] >= 1.5 else "below")
