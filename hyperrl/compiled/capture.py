"""A function of tensors recorded once as a CUDA graph and replayed: one launch for all of its kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_WARM_UPS = 3


class CapturedFunction:
    """What a function does to some tensors, as a CUDA graph (NVIDIA, CUDA programming guide, "CUDA graphs").

    The state is used where it lies, so it must not move; inputs are copied to where the graph expects them.
    The function must not read values back to the CPU, nor draw random numbers.

    Args:
        function: ``function(*state, *inputs)`` changes the state in place and returns tensors.
        state: Tensors on the GPU.
        inputs: Examples of the inputs, on the GPU.
        unchanged: Those of the state's tensors that the function only reads.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        state: Sequence[Tensor],
        inputs: Sequence[Tensor],
        unchanged: Sequence[Tensor] = (),
    ) -> None:
        self._inputs = [same_layout(tensor) for tensor in inputs]
        arguments = [*state, *self._inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            warm_up(function, state, self._inputs, unchanged)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = list(function(*arguments))

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Replay the graph.

        Args:
            inputs: Tensors of the shapes of the examples.

        Returns:
            Copies of what the function returns: the next replay writes over its own.
        """
        if inputs:
            torch._foreach_copy_(self._inputs, list(inputs))
        self._graph.replay()
        return [output.clone() for output in self._outputs]


def warm_up(
    function: Callable[..., Any],
    state: Sequence[Tensor],
    inputs: Sequence[Tensor],
    unchanged: Sequence[Tensor] = (),
) -> None:
    """Call a function a few times, as recording needs it, and undo what it did to its state.

    Args:
        function: ``function(*state, *inputs)``.
        state: Tensors that it changes in place.
        inputs: Tensors that it only reads.
        unchanged: Those of the state's tensors that it only reads.
    """
    kept = {id(tensor) for tensor in unchanged}
    changing = [tensor for tensor in state if id(tensor) not in kept]
    before = [tensor.clone() for tensor in changing]
    try:
        for _ in range(_WARM_UPS):
            function(*state, *inputs)
    finally:
        for tensor, value in zip(changing, before, strict=True):
            tensor.copy_(value)


def same_layout(tensor: Tensor) -> Tensor:
    """Return a copy with the strides of the original, which compiled kernels count on.

    Args:
        tensor: Any tensor; one that is a part of others' rows keeps the gaps.
    """
    copy = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor)
