"""HyperSAC on HalfCheetah, with an evaluation on the way that keeps the best agent."""

import argparse

import gymnasium as gym
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.monitor import Monitor

from hyperrl import HyperSAC


def main(steps: int) -> None:
    model = HyperSAC(
        "MlpPolicy",
        gym.make("HalfCheetah-v5"),
        learning_starts=min(10_000, steps // 10),
        policy_kwargs={"critic": "fast"},
        seed=0,
    )
    keep_best = EvalCallback(
        Monitor(gym.make("HalfCheetah-v5")),
        n_eval_episodes=2,
        eval_freq=max(1, steps // 3),
        best_model_save_path="hyper_sac_half_cheetah",
        verbose=0,
    )
    model.learn(steps, callback=keep_best)
    print(f"best return within {steps} steps: {keep_best.best_mean_reward:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    main(parser.parse_args().steps)
