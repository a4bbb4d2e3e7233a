"""What `hyperrl train` and `hyperrl evaluate` do, from Python: a run folder with everything in it."""

import argparse

from hyperrl import RunConfig, evaluate, train


def main(steps: int) -> None:
    config = RunConfig(
        agent="hyper-td3",
        env="Pendulum-v1",
        steps=steps,
        agent_kwargs={
            "learning_rate": 1e-3,
            "learning_starts": min(1000, steps // 10),
            "action_noise": {"kind": "normal", "sigma": 0.1},
            "policy_kwargs": {"net_arch": [64, 64], "critic": {"preset": "fast", "features": 8}},
        },
    )
    run = train(config)
    mean = evaluate(run.folder.path, episodes=5).mean
    print(f"{run.folder.path}: return {mean.estimate:.0f} (95 % from {mean.low:.0f} to {mean.high:.0f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    main(parser.parse_args().steps)
