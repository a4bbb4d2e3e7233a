"""HyperTD3 on HalfCheetah, as a script that was written for Stable-Baselines3's TD3."""

import argparse

import gymnasium as gym
import numpy as np
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise

from hyperrl import HyperTD3


def main(steps: int) -> None:
    env = gym.make("HalfCheetah-v5")
    size = env.action_space.shape[0]
    model = HyperTD3(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        learning_starts=min(10_000, steps // 10),
        action_noise=NormalActionNoise(np.zeros(size), np.full(size, 0.1)),
        policy_kwargs={"net_arch": [256, 256], "critic": "fast"},
        seed=0,
    )
    model.learn(steps)
    mean, std = evaluate_policy(model, Monitor(gym.make("HalfCheetah-v5")), n_eval_episodes=3)
    print(f"return after {steps} steps: {mean:.0f} ± {std:.0f}")
    model.save("hyper_td3_half_cheetah")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    main(parser.parse_args().steps)
