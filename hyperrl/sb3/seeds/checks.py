"""What cannot be stacked, said before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, VectorizedActionNoise
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_wrapper

from hyperrl.errors import ConfigError
from hyperrl.ranges import whole
from hyperrl.sb3.off_policy import OffPolicyUpdates
from hyperrl.sb3.packed_buffer import PackedReplayBuffer


def checked_seeds(
    agent_class: type[Any], env: object, seeds: object, device: torch.device | str
) -> tuple[int, ...]:
    """Return the seeds of a stack.

    Args:
        agent_class: What is to be stacked.
        env: Its environments.
        seeds: Its seeds.
        device: Where its networks are to run.

    Raises:
        ConfigError: The agents, the environments or the seeds cannot be stacked.
    """
    if not (isinstance(agent_class, type) and issubclass(agent_class, OffPolicyUpdates)):
        name = getattr(agent_class, "__name__", repr(agent_class))
        raise ConfigError(
            f"{name} cannot be trained with several seeds at once: HyperTD3, HyperSAC, CompiledTD3 and "
            "CompiledSAC can"
        )
    if torch.device("cpu" if device == "auto" else device).type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {str(device)!r}, but torch finds no GPU here: use 'cpu' or 'auto'")
    if not isinstance(env, VecEnv):
        raise ConfigError(
            "several seeds at once need a vectorised environment, as hyperrl_envs.native.make_native and "
            f"Stable-Baselines3's make_vec_env build it, got {env!r}"
        )
    if not isinstance(seeds, Iterable):
        raise ConfigError(f"seeds must be different numbers, such as range(8), got {seeds!r}")
    checked = tuple(int(whole(0, 2**32 - 1).check("seed", seed)) for seed in seeds)
    if not checked or len(set(checked)) < len(checked):
        raise ConfigError(f"seeds must be different numbers, at least one, got {list(checked)}")
    if env.num_envs % len(checked):
        raise ConfigError(
            f"each of the {len(checked)} seeds needs the same number of environments, got {env.num_envs} "
            "together"
        )
    if not PackedReplayBuffer.takes(env.observation_space, env.action_space):
        raise ConfigError(
            "several seeds at once need vectors of floating-point numbers as observations and actions, got "
            f"{env.observation_space} and {env.action_space}"
        )
    if unwrap_vec_wrapper(env, VecNormalize) is not None:
        raise ConfigError("several seeds at once cannot share a VecNormalize: leave it out")
    return checked


def refuse(agents: Sequence[Any]) -> None:
    """Refuse agents whose gradient steps cannot be made as one.

    Args:
        agents: The agents.

    Raises:
        ConfigError: They cannot; the sentence says why.
    """
    first = agents[0]
    sigma_of(first.action_noise)
    why = first._why_not_compiled()
    if (
        first.optimize_memory_usage
        or first.n_steps != 1
        or not isinstance(first.replay_buffer, PackedReplayBuffer)
    ):
        why = "they need a replay buffer of another kind"
    elif first.train_freq.unit == TrainFrequencyUnit.EPISODE:
        why = "they would have to wait for each other's episodes: give train_freq in steps"
    if why is None and not all(_same_buffers(one.policy, other.policy) for one, other in pairwise(agents)):
        why = "their networks have constants that differ from seed to seed"
    if why is not None:
        raise ConfigError(f"these agents cannot be trained with several seeds at once: {why}")


def sigma_of(noise: ActionNoise | None) -> NDArray[Any] | None:
    """Return the standard deviation ``[A]`` of noise for exploration, None for no noise.

    Args:
        noise: `NormalActionNoise` around zero, or none.

    Raises:
        ConfigError: It is another kind of noise.
    """
    if isinstance(noise, VectorizedActionNoise):
        noise = noise.noises[0]
    if noise is None:
        return None
    if type(noise) is not NormalActionNoise or np.any(noise._mu):
        raise ConfigError(
            f"several seeds at once explore with NormalActionNoise around zero or without noise, got {noise}"
        )
    return np.asarray(noise._sigma)


def _same_buffers(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.buffers(), other.buffers(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
