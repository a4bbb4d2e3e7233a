"""HyperSAC on a task with goals, with hindsight experience replay."""

import argparse

from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv

from hyperrl import HyperSAC


def main(steps: int) -> None:
    env = BitFlippingEnv(n_bits=5, continuous=True, max_steps=5)
    model = HyperSAC(
        "MultiInputPolicy",
        env,
        learning_rate=1e-3,
        learning_starts=min(1000, steps // 10),
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
        policy_kwargs={"net_arch": [64, 64]},
        seed=0,
    )
    model.learn(steps)
    reached = list(model.ep_success_buffer)
    print(f"goals reached in the last {len(reached)} episodes: {sum(reached):.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    main(parser.parse_args().steps)
