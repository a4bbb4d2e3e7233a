"""HyperPEARL finds out where to go: a point walks to goals that it never saw and is not told."""

import argparse

from hyperrl import adapt, train
from hyperrl.presets import resolve

TRIAL = (
    *("env_kwargs.n_train=2", "env_kwargs.n_test=2", "env_kwargs.max_episode_steps=5", "n_envs=2"),
    *("initial_steps=5", "prior_steps=5", "extra_steps=5", "gradient_steps=1", "eval_episodes=1"),
)


def main(steps: int) -> None:
    trial = steps < 10_000
    flags = {"preset": "fast", "env": "hyperrl/Navigation2D-v0", "steps": steps}
    config = resolve("hyper-pearl", flags, settings=TRIAL if trial else ()).config
    run = train(config).folder.path
    found = adapt(run, 3, eval_episodes=1 if trial else 5)
    print(f"returns after 0, 1, 2 and 3 episodes in a new task: {found.page}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150_000)
    main(parser.parse_args().steps)
