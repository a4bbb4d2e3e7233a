"""Generated weights kept while neither the condition nor the hypernetwork changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from hyperrl.errors import ConfigError
from hyperrl.nets.generated import Generated
from hyperrl.nets.hypernet import HyperNet

# Fused optimisers write parameters without raising their version, so steps are counted as well.
_optimizer_steps = [0]


@cache
def _count_optimizer_steps() -> None:
    """Count every optimiser's steps from the first cache on."""

    def count(*_: Any) -> None:
        _optimizer_steps[0] += 1

    register_optimizer_step_post_hook(count)


class WeightWatch:
    """Notices when the weights of a module may have changed.

    That is when an optimiser in this process made a step, or a parameter or buffer of the module was written
    in place (``load_state_dict``, Polyak averaging) or replaced. Writes through ``tensor.data`` and replayed
    CUDA graphs are not seen.

    Args:
        module: The module.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._version: tuple[int, tuple[tuple[int, int], ...]] | None = None
        _count_optimizer_steps()

    def changed(self) -> bool:
        """Whether they may have changed since the last call; True the first time."""
        tensors = (*self._module.parameters(), *self._module.buffers())
        version = (_optimizer_steps[0], tuple((tensor.data_ptr(), tensor._version) for tensor in tensors))
        if version == self._version:
            return False
        self._version = version
        return True


def _same(known: Tensor, condition: Tensor) -> bool:
    alike = known.dtype == condition.dtype and known.device == condition.device
    return alike and torch.equal(known, condition)


class GenerationCache:
    """Least-recently-used store of detached `Generated` weights, for acting.

    An entry is served only if its condition is equal to the one asked for and a `WeightWatch` saw no change
    of the hypernetwork since: call `invalidate` after changes that it does not see.

    Args:
        hyper: The hypernetwork.
        size: Number of conditions kept.

    Raises:
        ConfigError: If the size is not positive.
    """

    def __init__(self, hyper: HyperNet, size: int = 64) -> None:
        if size < 1:
            raise ConfigError(f"a cache of generated weights needs room for at least 1 condition, got {size}")
        self.hyper = hyper
        self.size = size
        self.hits = 0
        self.misses = 0
        self._watch = WeightWatch(hyper)
        self._entries: OrderedDict[Hashable, tuple[Tensor, Generated]] = OrderedDict()

    def generate(self, condition: Tensor, key: Hashable = None) -> Generated:
        """Return weights for a condition, generating them only if they are not at hand.

        Args:
            condition: ``[*batch, condition_dim]``.
            key: A name for the condition, such as an environment's index; its values by default.

        Raises:
            ShapeError, NonFiniteError, BoundsError: As `HyperNet.generate`.
        """
        if self._watch.changed():
            self.invalidate()
        if key is None:
            key = (tuple(condition.shape), tuple(condition.flatten().tolist()))
        entry = self._entries.get(key)
        if entry is not None and _same(entry[0], condition):
            self._entries.move_to_end(key)
            self.hits += 1
            return entry[1]
        self.misses += 1
        with torch.no_grad():
            generated = self.hyper.generate(condition).detach()
        self._entries[key] = (condition.detach().clone(), generated)
        self._entries.move_to_end(key)
        if len(self._entries) > self.size:
            self._entries.popitem(last=False)
        return generated

    def invalidate(self) -> None:
        """Forget everything."""
        self._entries.clear()
