"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

Tensors = dict[str, Tensor]


def tensors_of(module: nn.Module) -> Tensors:
    """Return a module's parameters by name, without gradients: what changes one changes the other.

    Args:
        module: Any module.
    """
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def changes_beside_learning(module: nn.Module) -> str | None:
    """Say which part of a module draws random numbers or changes its buffers when it is called, or None.

    Args:
        module: Any module.
    """
    for name, part in module.named_modules():
        if isinstance(part, _NormBase) or (isinstance(part, _DropoutNd) and part.p > 0):
            return f"{name or 'the network'} is a {type(part).__name__}"
    return None


class MethodOf(nn.Module):
    """Makes a method of a module what `call` calls; the parameters keep the module's names.

    Args:
        module: The module.
        method: Name of the method.
    """

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module = module
        self._method = method

    def forward(self, *args: Any) -> Any:
        """Call the method."""
        return getattr(self.module, self._method)(*args)


def call(module: nn.Module, parameters: Mapping[str, Tensor], *args: Any) -> Any:
    """Call a module with other parameters than its own.

    Args:
        module: The module, or a `MethodOf` it.
        parameters: Tensors by the names of the module's parameters.
        args: Arguments of the module.

    Returns:
        What the module returns.
    """
    if isinstance(module, MethodOf):
        parameters = {f"module.{name}": value for name, value in parameters.items()}
    return functional_call(module, dict(parameters), args)
