"""What exploration remembers from step to step: action noise and the noise matrices of gSDE."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from torch import nn

from hyperrl.errors import CheckpointError
from hyperrl_envs.layer_memory import class_name, is_plain

_MATRICES = ("exploration_mat", "exploration_matrices")


def capture_noise(noise: ActionNoise | None) -> dict[str, Any] | None:
    """Return what action noise remembers: its attributes made of numbers, strings and arrays.

    Args:
        noise: Any action noise, or several in a `VectorizedActionNoise`; None for none.
    """
    if noise is None:
        return None
    if isinstance(noise, VectorizedActionNoise):
        return {"class": class_name(noise), "noises": [capture_noise(part) for part in noise.noises]}
    attributes = {name: value for name, value in vars(noise).items() if is_plain(value)}
    return {"class": class_name(noise), "attributes": copy.deepcopy(attributes)}


def restore_noise(noise: ActionNoise | None, state: Mapping[str, Any] | None) -> None:
    """Let action noise continue, in place: the loop that is under way holds on to the object.

    Args:
        noise: Noise built like the one that the state came from.
        state: What `capture_noise` returned.

    Raises:
        CheckpointError: It is another kind of noise.
    """
    there = None if state is None else state["class"]
    here = None if noise is None else class_name(noise)
    if there != here:
        raise CheckpointError(
            f"the checkpoint is of an agent with the action noise {there} and this one has {here}: "
            "build the agent as it was"
        )
    if noise is None or state is None:
        return
    if isinstance(noise, VectorizedActionNoise):
        for part, part_state in zip(noise.noises, state["noises"], strict=True):
            restore_noise(part, part_state)
        return
    for name, value in state["attributes"].items():
        setattr(noise, name, copy.deepcopy(value))


def capture_matrices(policy: nn.Module) -> dict[str, dict[str, torch.Tensor]]:
    """Return the noise matrices, which are no parameters, of each gSDE distribution in a policy, by place."""
    return {
        place: {name: getattr(distribution, name).detach().clone() for name in _MATRICES}
        for place, distribution in _distributions(policy)
    }


def restore_matrices(policy: nn.Module, matrices: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Let the gSDE distributions of a policy explore with the given matrices, until the next are drawn.

    Args:
        policy: A policy built like the one that the matrices came from.
        matrices: What `capture_matrices` returned.

    Raises:
        CheckpointError: The policy explores in another way.
    """
    distributions = dict(_distributions(policy))
    if distributions.keys() != matrices.keys():
        raise CheckpointError(
            f"the checkpoint has gSDE noise for {sorted(matrices)} and this agent for "
            f"{sorted(distributions)}: build it with the use_sde that it had"
        )
    for place, distribution in distributions.items():
        for name, matrix in matrices[place].items():
            setattr(distribution, name, matrix.to(getattr(distribution, name).device, copy=True))


def _distributions(policy: nn.Module) -> Iterator[tuple[str, StateDependentNoiseDistribution]]:
    for path, module in policy.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, StateDependentNoiseDistribution):
                yield f"{path}.{name}" if path else name, value
