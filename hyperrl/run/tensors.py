"""Which arrays and tensors a checkpoint can hold, and copies of them that share no memory with training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# The types that safetensors has, by name.
TENSOR_TYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        "bool",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "int64",
        "float8_e4m3fn",
        "float8_e5m2",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
    )
}
# This one it lacks: it travels as pairs of float64.
PAIRS = "complex128"
TYPE_NAMES = {**{dtype: name for name, dtype in TENSOR_TYPES.items()}, torch.complex128: PAIRS}
ARRAY_TYPES = frozenset(
    np.dtype(name) for name in TENSOR_TYPES if not name.startswith(("bfloat", "float8", "complex"))
)


def is_dense(tensor: Tensor) -> bool:
    """Return whether a tensor has all its values in memory.

    Args:
        tensor: Any tensor.
    """
    return tensor.layout == torch.strided and tensor.device.type != "meta"


def plain_copy(tensor: Tensor) -> Tensor:
    """Return a tensor's values on the CPU, contiguous, without a gradient, in memory of their own.

    Args:
        tensor: A dense tensor of any shape, on any device.
    """
    plain = tensor.detach().resolve_conj().resolve_neg().to("cpu")
    return plain.clone(memory_format=torch.contiguous_format)
