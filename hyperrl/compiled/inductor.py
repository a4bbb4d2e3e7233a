"""Compiling a traced graph with torch's own compiler, in less time than with its own settings."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from hyperrl.compiled.toolchain import CompileWarning, cache_folder

_LOG = logging.getLogger(__name__)
_ONE_AT_A_TIME = threading.RLock()

# One C++ file for a graph instead of one for each of its kernels, which is also called faster; and no seconds
# spent on trying out whether the C++ compiler knows the processor: where it doesn't, compiling fails.
_ON_A_CPU = {"cpp_wrapper": True, "cpp.vec_isa_ok": True}


def compile_graph(graph: fx.GraphModule, arguments: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Compile a graph for the arguments that it was traced with.

    Args:
        graph: The graph.
        arguments: Tensors like those that it will be called with.

    Returns:
        A function of as many tensors.

    Raises:
        Exception: Whatever torch's many parts raise.
    """
    # Importing it takes a second, which is for those who compile.
    from torch._inductor import config, cpu_vec_isa

    # Settings and the folder are those of the process.
    with _ONE_AT_A_TIME:
        if all(argument.device.type == "cpu" for argument in arguments):
            # A folder that no killed process has left half a library in is tried next.
            for part in ("", "again"):
                try:
                    with config.patch(_ON_A_CPU):
                        return _compile(graph, arguments, part)
                except Exception as error:
                    sentence = " ".join(str(error).split())[:200]
                    _LOG.info("compiling failed in %s: %s", part or "the cache folder", sentence)
                    reason = f"{type(error).__name__}: {sentence}"
            warnings.warn(
                f"compiling takes longer than usual, since torch's own settings have to be used: {reason}",
                CompileWarning,
                stacklevel=2,
            )
            _forget_instruction_sets(cpu_vec_isa)
        return _compile(graph, arguments)


def _compile(
    graph: fx.GraphModule, arguments: Sequence[Tensor], part: str = ""
) -> Callable[..., Sequence[Tensor]]:
    # torch keeps what it compiled on disk only where it can note assumptions on shapes.
    fake = FakeTensorMode(shape_env=ShapeEnv(assume_static_by_default=True))
    with tracing(TracingContext(fake)), cache_folder(part):
        compiled: Callable[..., Sequence[Tensor]] = torch._inductor.compile(graph, list(arguments))
    return compiled


def _forget_instruction_sets(cpu_vec_isa: Any) -> None:
    """Let torch try out what the compiler knows: it remembers what it was told to take for tried out."""
    cpu_vec_isa.valid_vec_isa_list.cache_clear()
    for isa in cpu_vec_isa.supported_vec_isa_list:
        clear = getattr(type(isa).__bool__, "cache_clear", None)
        if clear is not None:
            clear()
