"""The tensors of several agents that are built alike, one on top of the other in common memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperrl.compiled.modules import Buffers, Tensors
from hyperrl.compiled.optimizer import AdamState
from hyperrl.compiled.trained import Optimised


class StackedTensors:
    """`TrainedTensors` of several agents: one tensor ``[S, ...]`` for each parameter and moment of theirs.

    The agents' own parameters and moments become parts of these tensors, so each agent goes on acting,
    being saved and being loaded as before, and a step on the stack is a step of each. What the optimisers
    count is told to the agents by `write_back`.

    Args:
        networks: For each agent its networks by name.
        optimised: For each agent its optimisers by name.
        changed: Called once before the first use and whenever an agent's tensors were replaced.

    Attributes:
        networks: Each network's parameters by name, ``[S, ...]``; parameters of an optimiser that belong to
            no network are under the optimiser's name.
        adam: Each optimiser's state; moments ``[S, ...]``, the count of steps ``[S]``, the learning rate
            ``[]``.
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
        # Looked at before every update: the first parameter of each part stands for it.
        self._parameters: list[Tensor] = [
            next(module.parameters()) for agent in networks for module in agent.values()
        ]
        self._parameters += [
            next(iter(each.parameters.values())) for agent in optimised for each in agent.values()
        ]
        self._buffers = Buffers(networks[0].values())
        self._addresses: list[int] = []
        self._objects: list[Any] = []
        self.networks: dict[str, Tensors] = {}
        self.adam: dict[str, AdamState] = {}

    def refresh(self) -> None:
        """Take over what was replaced since the last call, and the first agent's learning rates."""
        addresses, objects = self._find()
        same = len(objects) == len(self._objects) and all(map(operator.is_, objects, self._objects))
        if not same or addresses != self._addresses:
            self._write_back_what_is_ours()
            self._stack()
            self._addresses, self._objects = self._find()
            self._changed()
        for name, each in self._optimised[0].items():
            self.adam[name].refresh(each.optimizer)

    def write_back(self) -> None:
        """Tell all optimisers how many steps they have made, and with which learning rate the next is."""
        self._write_back_what_is_ours()
        for name in self.adam:
            rate = self._optimised[0][name].optimizer.param_groups[0]["lr"]
            for agent in self._optimised:
                # As it is: some groups scale what is assigned to them.
                dict.__setitem__(agent[name].optimizer.param_groups[0], "lr", rate)

    def _write_back_what_is_ours(self) -> None:
        """Tell the counts of steps to the optimisers that nobody has loaded since they were stacked."""
        for name, state in self.adam.items():
            for count, agent in zip(state.counted.tolist(), self._optimised, strict=True):
                each = agent[name]
                if any(each.optimizer.state is known for known in self._objects):
                    for parameter in each.parameters.values():
                        each.optimizer.state[parameter]["step"].fill_(count)

    def _find(self) -> tuple[list[int], list[Any]]:
        """Return addresses, and objects, that are others when tensors were replaced."""
        objects: list[Any] = [each.optimizer.state for agent in self._optimised for each in agent.values()]
        return [parameter.data_ptr() for parameter in self._parameters], objects + self._buffers.tensors()

    def _stack(self) -> None:
        self.networks = {
            name: _stacked([dict(modules[name].named_parameters()) for modules in self._modules])
            for name in self._modules[0]
        }
        self.adam = {name: self._stack_adam(name) for name in self._optimised[0]}

    def _stack_adam(self, name: str) -> AdamState:
        each = [optimised[name] for optimised in self._optimised]
        first = next(iter(each[0].parameters.values()))
        if not any(_is_part_of(first, network) for network in self.networks.values()):
            self.networks[name] = _stacked([one.parameters for one in each])
        states = [AdamState.of(one.optimizer, one.parameters) for one in each]
        counted = torch.tensor([state.steps[0].item() for state in states], device=first.device)
        return AdamState(
            moments=_stacked([state.moments for state in states]),
            squares=_stacked([state.squares for state in states]),
            steps=[counted],
            learning_rate=states[0].learning_rate,
            betas=states[0].betas,
            eps=states[0].eps,
            weight_decay=states[0].weight_decay,
            counted=counted,
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
