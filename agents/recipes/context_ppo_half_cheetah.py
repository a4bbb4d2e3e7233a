"""A policy for HalfCheetahs of any mass, and the plain one that is left for a heavy robot."""

import argparse

from hyperrl import export, train
from hyperrl.export import run_source
from hyperrl.presets import resolve

ROLLOUT = 32 * 256  # Steps of one rollout of the preset.


def main(steps: int) -> None:
    shorter = ["n_steps=4", "batch_size=64", "n_epochs=1", "eval_every=0"] if steps < ROLLOUT else []
    shorter += ["eval_episodes=1", "env_kwargs.max_episode_steps=100"] if shorter else []
    config = resolve("context-ppo", {"preset": "demo", "steps": steps}, settings=shorter).config
    run = train(config).folder.path
    source = run_source(run)
    for part, count in source.model.parameter_counts.items():
        print(f"{part}: {count['kind']}, {count['trainable']:,} parameters, {count['generated']:,} generated")
    for mass in (0.8, 1.2):
        (policy,) = export(source, "c99", context={"mass": mass}, episodes=1 if shorter else 10)
        mean = policy.manifest["evaluation"]["return_mean"]
        print(f"mass {mass}: return {mean:.0f}, {policy.manifest['policy']['parameters']:,} parameters in C")
        print(f"  {policy.folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    main(parser.parse_args().steps)
