"""A function of tensors, captured once as one graph, compiled, and run without torch's dispatch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from hyperrl.compiled.capture import CapturedFunction
from hyperrl.compiled.inductor import compile_graph
from hyperrl.compiled.modules import Buffers
from hyperrl.compiled.toolchain import CompileWarning, cache_folder, missing_compiler
from hyperrl.errors import HyperRLError


class NotCompiledError(HyperRLError):
    """A function cannot be compiled; nothing has been changed and nothing computed."""


class CompiledFunction:
    """One graph for all that a function does, changes of its arguments included.

    The function is traced with tensors that have shapes but no values, so nothing changes before the first
    real call. Python around tensors runs at that time only: numbers that it reads are part of the graph.
    On a GPU the compiled kernels are recorded as a CUDA graph, which is one launch. Neither the graph nor the
    function draws random numbers: draw them outside and pass them in.

    Args:
        function: ``function(state, inputs)`` with two nested structures of tensors. It may change the state
            in place and returns a nested structure of tensors.
        name: What it is called in warnings.
        compiled: Whether to compile it; otherwise calls go to the function itself, which computes the same.
        strict: Whether calls raise `NotCompiledError` where it cannot be compiled; otherwise a warning says
            so and they go to the function itself.

    Attributes:
        fallback: Why it could not be compiled; None if it was, or was not meant to be.
    """

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        name: str,
        *,
        compiled: bool = True,
        strict: bool = False,
    ) -> None:
        self._function = function
        self._name = name
        self._compiled = compiled
        self._strict = strict
        self._graphs: dict[tuple[Any, ...], tuple[Callable[..., Any], Any]] = {}
        self._state: Any = None
        self._state_leaves: list[Tensor] = []
        self._buffers = Buffers()
        self._unchanged: list[Tensor] = []
        self._layout: tuple[Any, ...] = ()
        # None where recording failed.
        self._captures: dict[tuple[Any, ...], CapturedFunction | None] = {}
        self.fallback: str | None = None

    def bind(self, state: Any, unchanged: Iterable[Tensor] = (), buffers: Buffers | None = None) -> None:
        """Say what later calls work on.

        Args:
            state: The structure of tensors that is the function's first argument. Bind again when tensors
                were replaced by others; when their values changed there is no need to.
            unchanged: Those among them that the function only reads, worth naming where they are large.
            buffers: Those of the modules that the function calls; without them their values become part of
                the graph. Bind again when one was replaced by another.
        """
        self._state = state
        self._buffers = buffers or Buffers()
        self._state_leaves = [*pytree.tree_leaves(state), *self._buffers.tensors()]
        self._unchanged = [*unchanged, *self._buffers.tensors()]
        self._captures.clear()
        self._layout = tuple(_layout(leaf) for leaf in self._state_leaves)

    def __call__(self, inputs: Any) -> Any:
        """Call the function.

        Args:
            inputs: The structure of tensors that is its second argument; other shapes, layouts or types than
                before make another graph.

        Returns:
            What the function returns.

        Raises:
            NotCompiledError: It is strict and cannot be compiled.
        """
        if self.fallback is not None and self._strict:
            raise NotCompiledError(self.fallback)
        if not self._compiled or self.fallback is not None:
            return self._function(self._state, inputs)
        leaves, structure = pytree.tree_flatten(inputs)
        # What the compiler makes of a product depends on the precision that it is asked for.
        key = (structure, torch.get_float32_matmul_precision(), self._layout, *map(_layout, leaves))
        if key not in self._graphs:
            made = self._compile(leaves, structure)
            if made is None:
                return self._function(self._state, inputs)
            self._graphs[key] = made
        graph, outputs = self._graphs[key]
        if self._state_leaves and self._state_leaves[0].is_cuda:
            captured = self._captured(key, graph, leaves)
            if captured is not None:
                return pytree.tree_unflatten(captured(*leaves), outputs)
        return pytree.tree_unflatten(graph(*self._state_leaves, *leaves), outputs)

    def _captured(self, key: Any, graph: Callable[..., Any], leaves: list[Tensor]) -> CapturedFunction | None:
        if key not in self._captures:
            self._captures[key] = None
            try:
                # Kernels are tuned in their first calls, and what is found is kept, too.
                with cache_folder():
                    self._captures[key] = CapturedFunction(
                        graph, self._state_leaves, leaves, unchanged=self._unchanged
                    )
            except RuntimeError as error:
                reason = " ".join(str(error.__context__ or error).split())[:300]
                warnings.warn(
                    f"{self._name} could not be recorded as a CUDA graph and is launched kernel by kernel, "
                    f"slower, with the same results: {reason}",
                    CompileWarning,
                    stacklevel=4,
                )
        return self._captures[key]

    def _compile(self, leaves: list[Tensor], structure: Any) -> tuple[Callable[..., Any], Any] | None:
        on_cpu = all(leaf.device.type == "cpu" for leaf in (*self._state_leaves, *leaves))
        missing = missing_compiler() if on_cpu else None
        if missing is not None:
            self._fall_back(missing)
            return None
        state_structure = pytree.tree_structure(self._state)
        n_state = len(self._state_leaves)
        n_own = n_state - len(self._buffers.tensors())
        output_structure: list[Any] = []

        def flat(*tensors: Tensor) -> list[Tensor]:
            state = pytree.tree_unflatten(tensors[:n_own], state_structure)
            with self._buffers.replaced(tensors[n_own:n_state]):
                outputs = self._function(state, pytree.tree_unflatten(tensors[n_state:], structure))
            values, outputs_structure = pytree.tree_flatten(outputs)
            output_structure[:] = [outputs_structure]
            return values

        arguments: list[Any] = [*self._state_leaves, *leaves]
        try:
            traced = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
            compiled = compile_graph(traced, arguments)
        except Exception as error:  # torch raises whatever its many parts raise.
            self._fall_back(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            return None
        return compiled, output_structure[0]

    def _fall_back(self, reason: str) -> None:
        self.fallback = reason
        if self._strict:
            raise NotCompiledError(f"{self._name} could not be compiled: {reason}")
        warnings.warn(
            f"{self._name} could not be compiled and runs as it is written, slower, with the same results: "
            f"{reason}",
            CompileWarning,
            stacklevel=4,
        )


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
