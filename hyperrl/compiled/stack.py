"""The tensors of several agents that are built alike, one on top of the other in common memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperrl.compiled.modules import Tensors
from hyperrl.compiled.optimizer import AdamState
from hyperrl.compiled.trained import Optimised


class StackedTensors:
    """`TrainedTensors` of several agents: one tensor ``[S, ...]`` for each parameter and moment of theirs.

    The agents' own parameters and moments become parts of these tensors, so each agent goes on acting,
    being saved and being loaded as before, and a step on the stack is a step of each. All optimisers that
    stand for the same one count the same steps; their counts are told to the agents by `write_back`.

    Args:
        networks: For each agent its networks by name.
        optimised: For each agent its optimisers by name.
        changed: Called once before the first use and whenever an agent's tensors were replaced.

    Attributes:
        networks: Each network's parameters by name, ``[S, ...]``.
        adam: Each optimiser's state; moments ``[S, ...]``, the count of steps and the learning rate ``[]``.
    """

    def __init__(
        self,
        networks: Sequence[Mapping[str, nn.Module]],
        optimised: Sequence[Mapping[str, Optimised]],
        changed: Callable[[], None],
    ) -> None:
        self._modules = networks
        self._optimised = optimised
        self._changed = changed
        self._known: list[Any] = []
        self.networks: dict[str, Tensors] = {}
        self.adam: dict[str, AdamState] = {}

    def refresh(self) -> None:
        """Take over what was replaced since the last call, and the first agent's learning rates."""
        found = self._find()
        if len(found) != len(self._known) or not all(map(_same, found, self._known)):
            self._stack()
            self._known = self._find()
            self._changed()
        for name, each in self._optimised[0].items():
            self.adam[name].refresh(each.optimizer)

    def write_back(self) -> None:
        """Tell all optimisers how many steps they have made, and with which learning rate the next is."""
        for name, state in self.adam.items():
            count = state.counted.item()
            group = self._optimised[0][name].optimizer.param_groups[0]
            for agent in self._optimised:
                each = agent[name]
                dict.__setitem__(each.optimizer.param_groups[0], "lr", group["lr"])
                for parameter in each.parameters.values():
                    each.optimizer.state[parameter]["step"].fill_(count)

    def _find(self) -> list[Any]:
        """Return what is another object, or at another address, when tensors were replaced."""
        found: list[Any] = []
        for modules, optimised in zip(self._modules, self._optimised, strict=True):
            found += [next(module.parameters()).data_ptr() for module in modules.values()]
            for each in optimised.values():
                found.append(each.optimizer.state)
                # Loading fills a state anew without replacing the dictionary of all of them.
                state = each.optimizer.state.get(next(iter(each.parameters.values())), {})
                found.append(state["exp_avg"].data_ptr() if "exp_avg" in state else 0)
        return found

    def _stack(self) -> None:
        self.networks = {
            name: _stacked([dict(modules[name].named_parameters()) for modules in self._modules])
            for name in self._modules[0]
        }
        self.adam = {name: self._stack_adam(name) for name in self._optimised[0]}

    def _stack_adam(self, name: str) -> AdamState:
        each = [optimised[name] for optimised in self._optimised]
        # Parameters that belong to no network, such as a temperature, are stacked here.
        if not any(
            _is_part_of(next(iter(each[0].parameters.values())), net) for net in self.networks.values()
        ):
            self.networks[name] = _stacked([one.parameters for one in each])
        states = [AdamState.of(one.optimizer, one.parameters) for one in each]
        first = states[0]
        counts = {state.steps[0].item() for state in states}
        if len(counts) > 1:
            raise ValueError(f"agents that are stacked must have made as many steps, got {sorted(counts)}")
        step = torch.full((), counts.pop(), device=first.learning_rate.device)
        return AdamState(
            moments=_stacked([state.moments for state in states]),
            squares=_stacked([state.squares for state in states]),
            steps=[step],
            learning_rate=first.learning_rate,
            betas=first.betas,
            eps=first.eps,
            weight_decay=first.weight_decay,
            counted=step,
        )


def _stacked(parts: Sequence[Mapping[str, Tensor]]) -> Tensors:
    """Put tensors on top of each other and let each become the part of the whole that it is."""
    whole: Tensors = {}
    for name in parts[0]:
        tensors = [part[name] for part in parts]
        whole[name] = torch.stack([tensor.detach() for tensor in tensors])
        for index, tensor in enumerate(tensors):
            tensor.data = whole[name][index]
    return whole


def _is_part_of(tensor: Tensor, network: Tensors) -> bool:
    return any(part[0].data_ptr() == tensor.data_ptr() for part in network.values())


def _same(one: object, other: object) -> bool:
    return one == other if isinstance(one, int) else one is other
