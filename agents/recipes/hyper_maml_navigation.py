"""Walk to a goal: plain MAML, which is not told it, beside a hypernetwork, which is; both then adapt."""

import argparse

import numpy as np

from hyperrl import HyperMAML
from hyperrl.environments import make_vec_env
from hyperrl.sb3.meta.adaptation import Adaptation, Transition

ENV, LENGTH, GOALS = "hyperrl/Navigation2D-v0", {"max_episode_steps": 20}, np.array([[0.4], [1.6], [2.8]])
ACTOR = {"kind": "hyper", "hidden": [64], "trunk_hidden": [64, 128]}
HYPER = {"policy_kwargs": {"actor": ACTOR}, "adapt": "generated", "inner_lr": 0.1}
AGENTS = {"plain MAML": {"policy_kwargs": {"actor": "mlp"}}, "hypernetwork": HYPER}


def play(env, adaptation: Adaptation, explore: bool) -> float:
    seen, total, playing = env.reset(), 0.0, np.ones(len(GOALS), bool)
    adaptation.begin_episode()
    while playing.any():
        actions = adaptation.act(seen, explore=explore)
        after, rewards, dones, _ = env.step(actions)
        adaptation.observe(Transition(seen, actions, rewards, after, dones, playing))
        seen, total, playing = after, total + float(rewards @ playing) / len(GOALS), playing & ~dones
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    steps, sizes = parser.parse_args().steps, {"meta_batch_size": 20, "episodes_per_task": 10}
    for name, settings in AGENTS.items():
        agent = HyperMAML("MultiInputPolicy", make_vec_env(ENV, LENGTH, 40, 0), seed=0, **sizes, **settings)
        tests, adaptation = make_vec_env(ENV, LENGTH, 3, 1), agent.learn(steps).adaptation(GOALS)
        [tests.env_method("set_fixed_context", goal, indices=[index]) for index, goal in enumerate(GOALS)]
        before = play(tests, adaptation, explore=False)
        for _ in range(5):
            play(tests, adaptation, explore=True)
            adaptation.end_episode()
        print(f"{name}: {before:.1f}, after 5 episodes {play(tests, adaptation, explore=False):.1f}")
