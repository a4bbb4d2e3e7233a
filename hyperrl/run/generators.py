"""The process's random generators: Python's, NumPy's global one and torch's, on the CPU and on CUDA."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """Return the states of all generators as plain data; nothing is drawn.

    Returns:
        Numbers, arrays and tensors in containers. CUDA's states are there only where this process uses CUDA.
    """
    version, words, gauss_next = random.getstate()
    uses_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "python": (version, np.array(words, np.uint32), gauss_next),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if uses_cuda else [],
    }


def restore(state: Mapping[str, Any]) -> list[str]:
    """Let all generators continue from a state. Do it last: building and resetting things draws numbers.

    Args:
        state: What `capture` returned.

    Returns:
        A sentence for each generator that this process does not have.
    """
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(int(word) for word in words), gauss_next))
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index, device_state in enumerate(state["cuda"][:devices]):
        torch.cuda.set_rng_state(device_state, index)
    if len(state["cuda"]) > devices:
        return [
            f"the state has generators of {len(state['cuda'])} CUDA devices and this machine has {devices}: "
            "what is drawn on the missing ones differs from now on"
        ]
    return []


def reset_seed(state: Mapping[str, Any]) -> int:
    """Derive a seed from a state without drawing from any generator of the process.

    Args:
        state: What `capture` returned.

    Returns:
        A seed from 0 to 2^31 - 1, the same one whenever it is derived from this state.
    """
    generator = np.random.RandomState()
    generator.set_state(state["numpy"])
    return int(generator.randint(2**31))
