"""Whether two agents are in the same state, bit for bit, and if not, where they first differ."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hyperrl.run.state import capture

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

# Clocks, which no two processes share: the duration of an episode, and when a run and an episode began.
_CLOCKS = frozenset({"t", "start_time", "t_start", "episode_start_time"})


def state_digests(agent: BaseAlgorithm) -> dict[str, str]:
    """Return the sha256 of every part of an agent's state, by name; equal states have equal digests.

    Weights, optimisers, replay buffer, environments, noise, counters and random generators are parts; clocks
    are not.

    Args:
        agent: An algorithm whose `learn` has begun.
    """
    found: dict[str, str] = {}
    _walk("policy", dict(agent.policy.state_dict()), found)
    _walk("state", capture(agent), found)
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is not None:
        _walk("buffer", _rows(buffer), found)
    return found


def state_digest(agent: BaseAlgorithm) -> str:
    """Return one sha256 of an agent's whole state, see `state_digests`.

    Args:
        agent: An algorithm whose `learn` has begun.
    """
    whole = hashlib.sha256()
    for name, part in sorted(state_digests(agent).items()):
        whole.update(f"{name}={part};".encode())
    return whole.hexdigest()


def first_difference(first: Mapping[str, str], second: Mapping[str, str]) -> str | None:
    """Return the name of the first part that differs between two states, or None.

    Args:
        first: What `state_digests` returned for one.
        second: And for the other.
    """
    for name in [*first, *second]:
        if first.get(name) != second.get(name):
            return name
    return None


def _rows(buffer: Any) -> dict[str, Any]:
    """Return the arrays of a replay buffer up to its fill level: the rest was never written."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    rows: dict[str, Any] = {"pos": buffer.pos, "full": buffer.full}
    for name, value in vars(buffer).items():
        if isinstance(value, np.ndarray) and value.dtype != object:
            rows[name] = value[:filled]
        elif isinstance(value, dict) and value and all(isinstance(v, np.ndarray) for v in value.values()):
            rows[name] = {key: array[:filled] for key, array in value.items()}
    return rows


def _walk(name: str, value: Any, found: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in _CLOCKS:
                _walk(f"{name}.{key}", part, found)
    elif isinstance(value, list | tuple | deque):
        found[f"{name}.length"] = str(len(value))
        for index, part in enumerate(value):
            _walk(f"{name}[{index}]", part, found)
    else:
        found[name] = hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:
            value = value.view(torch.int16)
        value = value.numpy()
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
    return f"{type(value).__name__}:{value!r}".encode()
