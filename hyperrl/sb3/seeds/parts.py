"""What a stack of seeds is made of beside graphs and random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn


class StackedPolicies(BasePolicy):
    """The policies of a stack, one for each seed.

    Args:
        observation_space: As in any policy.
        action_space: As in any policy.
        policies: The policies.
    """

    def __init__(self, observation_space: Any, action_space: Any, policies: Sequence[BasePolicy]) -> None:
        super().__init__(observation_space, action_space)
        self.seeds = nn.ModuleList(policies)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        raise NotImplementedError("a stack of seeds acts by its own `predict`, a seed by that of its agent")


def seed_environments(env: VecEnv, seeds: Sequence[int]) -> None:
    """Seed the environments of several seeds, those of each with consecutive numbers from the seed on.

    Args:
        env: The environments; those of the first seed come first. The seeds are used at the next reset.
        seeds: The seeds.
    """
    envs = env.num_envs // len(seeds)
    env.seed(seeds[0])
    env.unwrapped._seeds = [seed + index for seed in seeds for index in range(envs)]


def place_of(index: int, name: str) -> str:
    """Return the name under which a stack has an attribute of an agent.

    Args:
        index: The agent's place in the stack.
        name: The attribute, or a dotted path from the agent.
    """
    return f"policy.seeds.{index}.{name}" if "." in name else f"{name}_{index}"


def optimizers_of(agent: Any) -> list[torch.optim.Optimizer]:
    """Return all optimisers of an off-policy agent.

    Args:
        agent: The agent.
    """
    optimizers = [agent.actor.optimizer, agent.critic.optimizer, getattr(agent, "ent_coef_optimizer", None)]
    return [optimizer for optimizer in optimizers if optimizer is not None]
