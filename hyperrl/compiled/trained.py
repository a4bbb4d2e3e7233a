"""Networks and their optimisers as the tensors that a compiled step works on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from hyperrl.compiled.modules import Buffers, Tensors, tensors_of
from hyperrl.compiled.optimizer import AdamState


@dataclass(frozen=True)
class Optimised:
    """An optimiser and its parameters by name."""

    optimizer: Optimizer
    parameters: Mapping[str, Tensor]

    @classmethod
    def network(cls, optimizer: Optimizer, module: nn.Module) -> Optimised:
        """The optimiser of a whole module."""
        return cls(optimizer, dict(module.named_parameters()))


class TrainedTensors:
    """The tensors of networks and optimisers, shared with them and found again when they were replaced.

    Loading a state gives an optimiser other tensors, and moving a network gives its parameters other memory.

    Args:
        networks: The networks by name.
        optimised: The optimisers by name.
        changed: Called once before the first use and whenever tensors were replaced.

    Attributes:
        networks: Each network's parameters by name.
        buffers: The buffers of all networks.
        adam: Each optimiser's state.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimised: Mapping[str, Optimised],
        changed: Callable[[], None],
    ) -> None:
        self._modules = networks
        self._optimised = optimised
        self._changed = changed
        self._states: list[Any] = []
        self._addresses: list[int] = []
        self._found_buffers: list[Tensor] = []
        self.buffers = Buffers(networks.values())
        self.networks: dict[str, Tensors] = {}
        self.adam: dict[str, AdamState] = {}

    def refresh(self) -> None:
        """Take over what was replaced since the last call, and the learning rates."""
        states = [each.optimizer.state for each in self._optimised.values()]
        addresses = [next(module.parameters()).data_ptr() for module in self._modules.values()]
        addresses += [next(iter(each.parameters.values())).data_ptr() for each in self._optimised.values()]
        buffers = self.buffers.tensors()
        same = len(states) == len(self._states) and all(map(operator.is_, states, self._states))
        if same and addresses == self._addresses and all(map(operator.is_, buffers, self._found_buffers)):
            for name, each in self._optimised.items():
                self.adam[name].refresh(each.optimizer)
            return
        self.networks = {name: tensors_of(module) for name, module in self._modules.items()}
        self.adam = {
            name: AdamState.of(each.optimizer, each.parameters) for name, each in self._optimised.items()
        }
        self._states, self._addresses, self._found_buffers = states, addresses, buffers
        self._changed()
