"""Experts of a few speeds, and from what they do a cheetah for every speed between: HyperZero from Python."""

import argparse
from pathlib import Path

from hyperrl import HyperZero, RunConfig
from hyperrl.environments import make_env
from hyperrl.sweep.console import Lines
from hyperrl.sweep.engine import LocalEngine
from hyperrl.zero_shot import plan_preparation, record_experts, train_experts

SPEEDS = {"context": ["speed"], "append": "flat", "split": "points", "points": [[1.0], [2.0], [4.0]]}
PPO = {"learning_rate": 1e-3, "n_steps": 256, "batch_size": 1024, "n_epochs": 5, "target_kl": 0.02}
RUN = {"n_envs": 32, "eval_every": 100_000, "eval_episodes": 1, "normalize": True}
ROLLOUT = 32 * 256  # Steps of one rollout of an expert.


def main(steps: int, out: Path) -> None:
    trial = steps < ROLLOUT
    shorter = {"n_steps": 8, "batch_size": 64, "n_epochs": 1} if trial else {}
    episodes = {"max_episode_steps": 50} if trial else {}
    expert = {"agent": "compiled-ppo", "agent_kwargs": {**PPO, **shorter}, "steps": steps, **RUN}
    family = RunConfig(env="hyperrl/CheetahRun-v0", env_kwargs={**SPEEDS, **episodes}, **expert)
    preparation = plan_preparation(family, out)
    train_experts(preparation, LocalEngine(1), Lines())
    data = record_experts(preparation)
    print(", ".join(f"{data.space.text(task.context)}: {task.mean_return:.0f}" for task in data.tasks))
    env = make_env(data.env, data.env_kwargs)
    agent = HyperZero("MlpPolicy", env, dataset=str(out), tasks_per_batch=3, rows_per_task=128)
    agent.learn(max(10, steps // 20))
    print(agent.specialise(context={"speed": 3.0}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400_000)
    parser.add_argument("--out", type=Path, default=Path("runs/cheetah-tasks"))
    main(**vars(parser.parse_args()))
