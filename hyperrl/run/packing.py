"""A tree of plain values, arrays and tensors as JSON and safetensors, exactly and without pickle.

A value that JSON has itself stays as it is. Every other one becomes an object of one key, its tag:
`{"tuple": [...]}`, `{"int": "0x1f..."}`, `{"tensor": ["0.optimizer.exp_avg", "float32", [8, 3]]}`. Arrays and
tensors themselves go into a flat table. An object that the tree holds twice comes back as two.
`hyperrl.run.unpacking` is the way back.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperrl.errors import StateError
from hyperrl.run.tensors import ARRAY_TYPES, PAIRS, TYPE_NAMES, is_dense, plain_copy

# Well below what the interpreter's own limit of recursion allows.
DEEPEST = 50
_NAME_AT_MOST = 200


def pack(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """Take a tree apart.

    Args:
        value: None, bool, int, float, str, bytes, list, tuple, set, frozenset, dict, OrderedDict, deque,
            numeric NumPy arrays and scalars, and dense tensors, nested in any way.

    Returns:
        What JSON can hold, and the arrays and tensors as tensors on the CPU that share no memory.

    Raises:
        StateError: A part is of another type, or the tree nests too deeply; the sentence says where.
    """
    packer = _Packer()
    return packer.pack(value, "", 0), packer.tensors


class _Packer:
    """One pass over a tree."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def pack(self, value: Any, path: str, depth: int) -> Any:
        """Return what JSON can hold of the value at `path`."""
        if depth > DEEPEST:
            raise StateError(
                f"the state nests deeper than {DEEPEST} levels at {_shown(path)}: does it contain itself?"
            )
        if value is None or type(value) is bool:
            return value
        one = _ONE.get(type(value))
        if one is not None:
            return one(value)
        several = _SEVERAL.get(type(value))
        if several is not None:
            return several(self, value, path, depth)
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            return {"scalar": [value.dtype.str, value.tobytes().hex()]}
        raise _refusal(value, path)

    def items(self, values: Iterable[Any], path: str, depth: int) -> list[Any]:
        """Return each value of a sequence, packed."""
        return [self.pack(value, f"{path}[{index}]", depth + 1) for index, value in enumerate(values)]

    def unordered(self, values: Iterable[Any], path: str, depth: int) -> list[Any]:
        """Return the values of a set, packed, in an order that depends on nothing else."""
        packed = [self.pack(value, f"{path}{{{value!r}}}", depth + 1) for value in values]
        return sorted(packed, key=json.dumps)

    def pairs(self, table: Mapping[Any, Any], path: str, depth: int) -> list[Any]:
        """Return keys and values, packed, in their order."""
        return [
            [self.pack(key, f"{path}{{{key!r}}}", depth + 1), self.pack(value, _below(path, key), depth + 1)]
            for key, value in table.items()
        ]

    def table(self, table: dict[Any, Any], path: str, depth: int) -> Any:
        """Return a dict: as an object where all keys are plain text, else as pairs."""
        if all(type(key) is str and type(_pack_str(key)) is str for key in table):
            return {
                "dict": {key: self.pack(value, _below(path, key), depth + 1) for key, value in table.items()}
            }
        return {"items": self.pairs(table, path, depth)}

    def tensor(self, tensor: Tensor, path: str, depth: int) -> Any:
        """Return a tensor's name, type and shape."""
        name = TYPE_NAMES.get(tensor.dtype)
        if name is None or not is_dense(tensor):
            raise _refusal(tensor, path, f"a {tensor.layout} tensor of {tensor.dtype} on {tensor.device}")
        plain = plain_copy(tensor)
        if name == PAIRS:
            plain = torch.view_as_real(plain)
        return {"tensor": [self.stored(plain, path), name, list(tensor.shape)]}

    def array(self, array: np.ndarray, path: str, depth: int) -> Any:
        """Return an array's name, type, shape and order in memory."""
        if array.dtype.kind not in "biufc":
            raise _refusal(array, path, f"an array of {array.dtype}")
        # Sums over an array depend on its order in memory in the last bit.
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        plain = np.array(array.T if fortran else array, order="C", copy=True)
        if plain.dtype not in ARRAY_TYPES or not plain.dtype.isnative:
            plain = np.frombuffer(bytearray(plain.tobytes()), np.uint8)
        name = self.stored(torch.from_numpy(plain), path)
        return {"array": [name, array.dtype.str, list(array.shape), "F" if fortran else "C"]}

    def stored(self, tensor: Tensor, path: str) -> str:
        """Put a tensor into the flat table and return its name, unique by its number."""
        readable = path.encode("ascii", "replace").decode()[:_NAME_AT_MOST]
        name = f"{len(self.tensors)}.{readable}"
        self.tensors[name] = tensor
        return name


def _pack_int(value: int) -> Any:
    return value if -(2**63) <= value < 2**63 else {"int": hex(value)}


def _pack_float(value: float) -> Any:
    return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}


def _pack_str(value: str) -> Any:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # A lone surrogate, as in the name of a file that is not Unicode.
        return {"str": value.encode("utf-8", "surrogatepass").hex()}
    return value


# By exact type: a subclass could carry more than its values, which would be lost.
_ONE: dict[type, Callable[[Any], Any]] = {
    int: _pack_int,
    float: _pack_float,
    str: _pack_str,
    bytes: lambda value: {"bytes": base64.b64encode(value).decode("ascii")},
}
_SEVERAL: dict[type, Callable[[_Packer, Any, str, int], Any]] = {
    list: _Packer.items,
    tuple: lambda packer, value, path, depth: {"tuple": packer.items(value, path, depth)},
    set: lambda packer, value, path, depth: {"set": packer.unordered(value, path, depth)},
    frozenset: lambda packer, value, path, depth: {"frozenset": packer.unordered(value, path, depth)},
    dict: _Packer.table,
    OrderedDict: lambda packer, value, path, depth: {"ordered": packer.pairs(value, path, depth)},
    deque: lambda packer, value, path, depth: {"deque": [value.maxlen, packer.items(value, path, depth)]},
    np.ndarray: _Packer.array,
    Tensor: _Packer.tensor,
    torch.nn.Parameter: _Packer.tensor,
}


def _shown(path: str) -> str:
    return path.removeprefix(".") or "its root"


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if type(key) is str and key.isidentifier() else f"{path}[{key!r}]"


def _refusal(value: Any, path: str, kind: str | None = None) -> StateError:
    kind = kind or f"a {type(value).__module__}.{type(value).__qualname__}"
    return StateError(
        f"the state cannot be saved: {_shown(path)} is {kind}, and only plain values and containers, numeric "
        "arrays and dense tensors can be"
    )
