"""The plain policy that a latent stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.errors import ExportError, UnsupportedSpaceError
from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.plain import check_vectors, head_of, normaliser_of

if TYPE_CHECKING:
    from hyperrl_agents.recurrent_hyper.agent import RecurrentHyper


def plain_policy_of(
    agent: RecurrentHyper, latent: ArrayLike | None, vec_normalize: VecNormalize | None
) -> PlainPolicy:
    """Return the policy that a latent stands for, see `RecurrentHyper.specialise`.

    Args:
        agent: The agent.
        latent: As actor and critic see it, ``[2 z]``.
        vec_normalize: What normalises its observations; None takes that of the agent's environment.
    """
    policy = agent.policy
    size = 2 * policy.encoder.latent_size
    if latent is None or np.shape(latent) != (size,):
        raise ExportError(
            "RecurrentHyper acts by what it remembers, and a plain policy remembers nothing: give a latent "
            f"of {size} numbers, or take agent.adaptation(contexts).specialise(task)"
        )
    own = policy.columns.own
    if len(own) != 1:
        raise UnsupportedSpaceError(
            f"observations with the parts {', '.join(own)} cannot be exported: a plain policy takes one"
        )
    assert isinstance(agent.observation_space, spaces.Dict)
    check_vectors(agent.observation_space.spaces[own[0]], agent.action_space)
    if vec_normalize is None:
        vec_normalize = agent.get_vec_normalize_env()
    given = torch.as_tensor(latent, dtype=torch.float32, device=agent.device)
    layers = tuple(policy.networks.plain_layers(given))
    return PlainPolicy(layers, head_of(agent.action_space), normaliser_of(vec_normalize, own[0]))
