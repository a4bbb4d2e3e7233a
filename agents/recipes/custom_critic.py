"""A critic of your own: a low-rank hypernetwork that generates two hidden layers."""

import argparse

from stable_baselines3.common.evaluation import evaluate_policy

from hyperrl import HyperCriticConfig, HyperTD3

CRITIC = HyperCriticConfig(
    hidden=(64, 64),
    kind="lowrank",
    kind_options={"rank": 4},
    encoder="running_norm",
    trunk_hidden=(64,),
    features=16,
    learning_rate=5e-4,
)


def main(steps: int) -> None:
    model = HyperTD3(
        "MlpPolicy",
        "Pendulum-v1",
        learning_rate=1e-3,
        learning_starts=min(1000, steps // 10),
        policy_kwargs={"net_arch": [64, 64], "critic": CRITIC},
        seed=0,
    )
    model.learn(steps)
    mean, std = evaluate_policy(model, model.get_env(), n_eval_episodes=10)
    print(f"return after {steps} steps: {mean:.0f} ± {std:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    main(parser.parse_args().steps)
