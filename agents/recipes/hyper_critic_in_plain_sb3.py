"""A hyper critic in Stable-Baselines3's own SAC: only the policy is another one."""

import argparse

from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy

from hyperrl.sb3 import HyperSACPolicy


def main(steps: int) -> None:
    model = SAC(
        HyperSACPolicy,
        "Pendulum-v1",
        learning_rate=1e-3,
        learning_starts=min(1000, steps // 10),
        policy_kwargs={"net_arch": [64, 64], "critic": "fast"},
        seed=0,
    )
    model.learn(steps)
    mean, std = evaluate_policy(model, model.get_env(), n_eval_episodes=10)
    print(f"return after {steps} steps: {mean:.0f} ± {std:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    main(parser.parse_args().steps)
