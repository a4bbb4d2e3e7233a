"""Compiling a traced graph with torch's own compiler, in less time than with its own settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from hyperrl.compiled.toolchain import cache_folder

_LOG = logging.getLogger(__name__)

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

    if all(argument.device.type == "cpu" for argument in arguments):
        try:
            with config.patch(_ON_A_CPU):
                return _compile(graph, arguments)
        except Exception as error:
            _LOG.info("compiling once more, with torch's own settings, after: %s", error)
            # It remembers what it was told to take for tried out.
            cpu_vec_isa.valid_vec_isa_list.cache_clear()
    return _compile(graph, arguments)


def _compile(graph: fx.GraphModule, arguments: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    # torch keeps what it compiled on disk only where it can note assumptions on shapes.
    fake = FakeTensorMode(shape_env=ShapeEnv(assume_static_by_default=True))
    with tracing(TracingContext(fake)), cache_folder():
        compiled: Callable[..., Sequence[Tensor]] = torch._inductor.compile(graph, list(arguments))
    return compiled
