"""What all faults have in common: how many cases there are, and what is trained in them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from hyperrl.bench.fault_libraries import Job, Library

_SMALL_CRITIC = {"hidden": [8], "trunk_hidden": [8], "features": 4}


@dataclass(frozen=True)
class Scale:
    """How often each fault is injected.

    Attributes:
        kills: Moments of a save at which its process is killed.
        limits: Sizes beyond which no file may grow.
        flips: Bits that are flipped, one at a time.
        cuts: Lengths to which a file is cut.
        signals: Moments of learning at which SIGTERM comes.
        workers: Calls of an environment in a worker in which it fails, at most four.
        seeds: Seeds of everything that is trained to its end.
    """

    kills: int
    limits: int
    flips: int
    cuts: int
    signals: int
    workers: int
    seeds: int


SCALES = {
    "pull-request": Scale(kills=200, limits=20, flips=300, cuts=99, signals=8, workers=4, seeds=1),
    "nightly": Scale(kills=2000, limits=100, flips=20_000, cuts=999, signals=40, workers=4, seeds=5),
}

Lost = Collection[str]
Inject = Callable[[Library, Path, Scale], Iterator[Lost]]
"""Takes a library, an empty folder and a scale, and yields for each case what was lost in it."""


@dataclass(frozen=True)
class Fault:
    """Something that happens to every long run one day.

    Attributes:
        name: What happens.
        inject: Lets it happen, case by case.
        lost_means: What it means that something was lost, by the name that `inject` yields.
    """

    name: str
    inject: Inject
    lost_means: Mapping[str, str]


def settings_of(algorithm: str, **changes: Any) -> dict[str, Any]:
    """Return the keyword arguments of a small agent that learns from its 30th step on.

    Args:
        algorithm: One of a library's.
        changes: What shall be otherwise.
    """
    networks: dict[str, Any] = {"net_arch": [16]}
    if algorithm.startswith("hyper"):
        networks["critic"] = _SMALL_CRITIC
    if algorithm == "ppo":
        settings: dict[str, Any] = {"n_steps": 40, "batch_size": 20, "n_epochs": 2}
    else:
        settings = {"buffer_size": 500, "learning_starts": 30, "batch_size": 16, "train_freq": 1}
    return {**settings, "policy_kwargs": networks, **changes}


def small_job(algorithm: str, env: str, steps: int, **others: Any) -> Job:
    """Return the job of training a small agent.

    Args:
        algorithm: One of a library's.
        env: Gymnasium id.
        steps: Environment steps.
        others: Other fields of the job.
    """
    return Job(algorithm, env, steps, settings=settings_of(algorithm), **others)


def parameters_digest(agent: BaseAlgorithm) -> str:
    """Return the SHA-256 of an agent's weights and optimisers.

    Args:
        agent: Any algorithm.
    """
    return _digest(agent.get_parameters())


def replay_digest(agent: BaseAlgorithm) -> str:
    """Return the SHA-256 of the rows in an agent's replay buffer, and of how it is filled.

    Args:
        agent: An algorithm with a replay buffer.
    """
    buffer: Any = agent.replay_buffer  # type: ignore[attr-defined]
    filled = buffer.buffer_size if buffer.full else buffer.pos
    rows = {name: value[:filled] for name, value in vars(buffer).items() if isinstance(value, np.ndarray)}
    return _digest({**rows, "pos": buffer.pos, "full": buffer.full})


def is_finite(agent: BaseAlgorithm) -> bool:
    """Return whether every weight of an agent's policy is finite.

    Args:
        agent: Any algorithm.
    """
    return all(bool(torch.isfinite(tensor).all()) for tensor in agent.policy.state_dict().values())


def _digest(tree: Any) -> str:
    whole = hashlib.sha256()
    pending = deque([("", tree)])
    while pending:
        name, value = pending.popleft()
        if isinstance(value, Mapping):
            pending.extend((f"{name}.{key}", part) for key, part in value.items())
        elif isinstance(value, list | tuple):
            pending.extend((f"{name}[{index}]", part) for index, part in enumerate(value))
        elif isinstance(value, torch.Tensor | np.ndarray):
            array = np.ascontiguousarray(value.detach().numpy() if torch.is_tensor(value) else value)
            whole.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        else:
            whole.update(f"{name} {value!r} ".encode())
    return whole.hexdigest()
