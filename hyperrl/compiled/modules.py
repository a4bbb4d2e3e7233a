"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


class Buffers:
    """The buffers of modules, for a graph that reads them where they are: they are no part of it.

    Args:
        modules: The modules; one that is part of several counts once.
    """

    def __init__(self, modules: Iterable[nn.Module] = ()) -> None:
        parts = {id(part): part for module in modules for part in module.modules()}
        self._places = [
            (part._buffers, name)
            for part in parts.values()
            for name, buffer in part._buffers.items()
            if buffer is not None
        ]

    def tensors(self) -> list[Tensor]:
        """Return the tensors that are the buffers now."""
        return [buffers[name] for buffers, name in self._places]  # type: ignore[misc]

    @contextmanager
    def replaced(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Let the modules compute with other tensors for a while.

        Args:
            tensors: One for each of `tensors`, in the same order.
        """
        own = self.tensors()
        self._put(tensors)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, tensors: Sequence[Tensor]) -> None:
        for (buffers, name), tensor in zip(self._places, tensors, strict=True):
            buffers[name] = tensor


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
