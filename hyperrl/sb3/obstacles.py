"""What about networks and optimisers keeps a gradient step from being compiled."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer

from hyperrl.compiled import changes_beside_learning, why_not
from hyperrl.nets.encoders import RunningNorm


def obstacle(networks: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> str | None:
    """Say which network or optimiser cannot be part of a compiled update, or None.

    Args:
        networks: The networks by name.
        optimizers: The optimisers by name; each network has one under its own name.
    """
    for name, optimizer in optimizers.items():
        refused = why_not(optimizer)
        if refused is not None:
            return f"{name}: {refused}"
    owners: dict[int, str] = {}
    for name, network in networks.items():
        found = _in_parameters(name, network, optimizers[name], owners) or _in_modules(name, network)
        if found is not None:
            return found
    return None


def _in_parameters(name: str, network: nn.Module, optimizer: Optimizer, owners: dict[int, str]) -> str | None:
    parameters = dict(network.named_parameters())
    for key, parameter in parameters.items():
        if not parameter.requires_grad:
            return f"the {name} has a frozen parameter, {key}"
        if parameter._backward_hooks:
            return f"the gradient of the {name}'s {key} has a hook"
        if owners.setdefault(id(parameter), name) != name:
            return f"the {name} shares its parameter {key} with the {owners[id(parameter)]}"
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if trained != {id(parameter) for parameter in parameters.values()}:
        return f"the {name}'s optimiser is not that of all its parameters"
    return None


def _in_modules(name: str, network: nn.Module) -> str | None:
    part = changes_beside_learning(network)
    if part is not None:
        return f"in the {name}, {part}, which does more than compute"
    for module in network.modules():
        if isinstance(module, RunningNorm):
            return f"the {name} has an encoder with running statistics"
        # Nobody knows what a foreign module does with them.
        if module._buffers and not type(module).__module__.startswith("hyperrl."):
            return f"the {name} has a {type(module).__name__} with buffers"
    return None
