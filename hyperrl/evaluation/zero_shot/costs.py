"""What a policy costs: what is trained, what is generated from it, and how long a query takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_QUERIES = 50


def costs_of(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return what the policy of an agent costs.

    Args:
        agent: The agent.

    Returns:
        "trainable_parameters" of the whole policy, critics included; "actor_parameters", those of the actor,
        and "generated_parameters", the weights that are generated for it in one context, both None where the
        agent does not tell; and "milliseconds_per_query", the median time of an action for one observation.
    """
    policy: Any = agent.policy
    told: Any = getattr(agent, "parameter_counts", {})
    actor = told.get("actor", {})
    agent.observation_space.seed(0)
    observation = agent.observation_space.sample()
    seconds = []
    for _ in range(_QUERIES):
        began = time.perf_counter()
        agent.predict(observation, deterministic=True)
        seconds.append(time.perf_counter() - began)
    return {
        "trainable_parameters": sum(one.numel() for one in policy.parameters() if one.requires_grad),
        "actor_parameters": actor.get("trainable"),
        "generated_parameters": actor.get("generated") or None,
        "milliseconds_per_query": round(1000 * float(np.median(seconds)), 4),
    }
