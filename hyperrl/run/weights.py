"""The weights and gradients of an agent, looked at for NaN and infinity at the cost of one pass."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from torch import Tensor


class Weights:
    """The weights of one agent: its policy, target networks included, and what it trains besides.

    Args:
        agent: The algorithm.
    """

    def __init__(self, agent: BaseAlgorithm) -> None:
        self._agent = agent
        self._variables = agent._get_torch_save_params()[1]
        buffers = {name for name, _ in agent.policy.named_buffers()}
        # One name per tensor: networks that share a features extractor list it twice.
        named = {
            id(tensor): (name, tensor)
            for name, tensor in agent.policy.state_dict(keep_vars=True).items()
            if torch.is_tensor(tensor)
            and tensor.is_floating_point()
            # Constants that are infinite from the start, as masks are, are meant to be so.
            and not (name in buffers and _not_finite(tensor))
        }
        # Critics learn before actors, so a fault of theirs is named first.
        self._named = sorted(named.values(), key=lambda item: item[0].startswith("actor"))
        self._vectors = [tensor for _, tensor in self._named if tensor.ndim == 1]
        self._others = [tensor for _, tensor in self._named if tensor.ndim != 1]

    def suspicious(self) -> bool:
        """Whether a weight or gradient may not be finite, by one pass and one value read from the device.

        Finite numbers whose squares overflow are suspicious too.
        """
        others = [*self._others, *(tensor for _, tensor in self._own_tensors())]
        others += [tensor.grad for tensor in others if tensor.grad is not None]
        vectors = self._vectors + [tensor.grad for tensor in self._vectors if tensor.grad is not None]
        with torch.no_grad():
            if vectors:
                # Biases are many and small: as one vector they cost one norm.
                others.append(torch.cat(vectors))
            return not math.isfinite(torch.stack(torch._foreach_norm(others)).sum().item())

    def fault_of_gradients(self) -> str | None:
        """Say which weight's gradient is not finite."""
        gradients = [(name, tensor.grad) for name, tensor in self._tensors() if tensor.grad is not None]
        return _first_fault("the gradient of", gradients)

    def fault(self) -> str | None:
        """Say which weight is not finite."""
        return _first_fault("the weight", self._tensors())

    def _tensors(self) -> list[tuple[str, Tensor]]:
        return [*self._own_tensors(), *self._named]

    def _own_tensors(self) -> list[tuple[str, Tensor]]:
        """Return what the agent trains besides, looked up anew: it may put other tensors in their place."""
        return [(name, recursive_getattr(self._agent, name)) for name in self._variables]


def _first_fault(noun: str, tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    bad = [(name, tensor) for name, tensor in tensors if _not_finite(tensor)]
    if not bad:
        return None
    name, tensor = bad[0]
    value = tensor.detach()[~torch.isfinite(tensor)][0].item()
    others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"{noun} {name} is {value}{others}"


def _not_finite(tensor: Tensor) -> bool:
    return not bool(torch.isfinite(tensor).all())
