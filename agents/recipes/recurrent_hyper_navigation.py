"""RecurrentHyper finds goals that it is not told: the returns of three episodes in goals of tests."""

import argparse

import numpy as np

from hyperrl import RecurrentHyper
from hyperrl.environments import make_vec_env
from hyperrl.sb3.meta.adaptation import Transition
from hyperrl.sb3.meta.tasks import assign

ENV = "hyperrl/Navigation2D-v0"
SETTINGS = {"mode": "hidden", "max_episode_steps": 20, "n_train": 100, "n_test": 20}
POLICY = {"hidden_size": 64, "state_features": 64, "net_arch": [64], "output_gain": 0.1}


def main(steps: int) -> None:
    venv = make_vec_env(ENV, SETTINGS, 32, seed=0, native=True)
    settings = {"n_steps": 40, "n_epochs": 4, "clip_range": 0.2, "ent_coef": 0.0, "policy_kwargs": POLICY}
    agent = RecurrentHyper("MlpPolicy", venv, 1e-3, seed=0, **settings)
    agent.learn(steps)
    goals = venv.get_attr("splits")[0].contexts("interpolation")
    tests = make_vec_env(ENV, SETTINGS, len(goals), seed=1, native=True)
    adaptation = agent.adaptation(goals)
    assign(tests, goals)
    for episode in range(3):
        adaptation.begin_episode()
        observations, total, playing = tests.reset(), np.zeros(len(goals)), np.ones(len(goals), bool)
        while playing.any():
            actions = adaptation.act(observations, explore=True)
            after, rewards, dones, _ = tests.step(actions)
            adaptation.observe(Transition(observations, actions, rewards, after, dones, playing))
            observations, total, playing = after, total + rewards * playing, playing & ~dones
        print(f"episode {episode + 1}: mean return {total.mean():.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    main(parser.parse_args().steps)
