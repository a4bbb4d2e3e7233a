"""A tree of plain values, arrays and tensors as JSON and safetensors, and back, exactly and without pickle.

A value that JSON has itself stays as it is. Every other one becomes an object of one key, its tag:
`{"tuple": [...]}`, `{"int": "0x1f..."}`, `{"tensor": ["0.optimizer.exp_avg", "float32", [8, 3]]}`. Arrays and
tensors themselves go into a flat table. An object that the tree holds twice comes back as two.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperrl.errors import CheckpointCorruptError, StateError

# Well below what the interpreter's own limit of recursion allows.
_DEEPEST = 50
_NAME_AT_MOST = 200

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
_PAIRS = "complex128"
_TYPE_NAMES = {**{dtype: name for name, dtype in TENSOR_TYPES.items()}, torch.complex128: _PAIRS}
_ARRAY_TYPES = frozenset(
    np.dtype(name) for name in TENSOR_TYPES if not name.startswith(("bfloat", "float8", "complex"))
)
_ARRAY_TYPE = re.compile(r"[<>|][biufc][0-9]{1,2}")
_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]+")


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


def unpack(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put a tree together again.

    Args:
        structure: The first thing that `pack` returned, perhaps after a journey through JSON.
        tensors: The second.

    Returns:
        The tree, equal in every type, order and bit. Arrays and tensors own their memory; a tensor is on the
        CPU and asks for no gradient.

    Raises:
        CheckpointCorruptError: This is not what `pack` returns.
    """
    unpacker = _Unpacker(tensors)
    try:
        value = unpacker.unpack(structure, 0)
    except CheckpointCorruptError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RuntimeError) as error:
        raise CheckpointCorruptError(f"the saved state is malformed: {error}") from error
    unused = tensors.keys() - unpacker.used
    if unused:
        raise CheckpointCorruptError(f"the saved state has a tensor of no use: {min(unused)!r}")
    return value


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


class _Packer:
    """One pass over a tree."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def pack(self, value: Any, path: str, depth: int) -> Any:
        """Return what JSON can hold of the value at `path`."""
        if depth > _DEEPEST:
            raise StateError(
                f"the state nests deeper than {_DEEPEST} levels at {_shown(path)}: does it contain itself?"
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
        name = _TYPE_NAMES.get(tensor.dtype)
        if name is None or not is_dense(tensor):
            raise _refusal(tensor, path, f"a {tensor.layout} tensor of {tensor.dtype} on {tensor.device}")
        plain = plain_copy(tensor)
        if name == _PAIRS:
            plain = torch.view_as_real(plain)
        return {"tensor": [self.stored(plain, path), name, list(tensor.shape)]}

    def array(self, array: np.ndarray, path: str, depth: int) -> Any:
        """Return an array's name, type, shape and order in memory."""
        if array.dtype.kind not in "biufc":
            raise _refusal(array, path, f"an array of {array.dtype}")
        # Sums over an array depend on its order in memory in the last bit.
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        plain = np.array(array.T if fortran else array, order="C", copy=True)
        if plain.dtype not in _ARRAY_TYPES or not plain.dtype.isnative:
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


class _Unpacker:
    """One pass over a structure; any malformed part raises some exception, which `unpack` translates."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.used: set[str] = set()

    def unpack(self, structure: Any, depth: int) -> Any:
        """Return the value that a structure stands for."""
        if depth > _DEEPEST:
            raise ValueError(f"it nests deeper than {_DEEPEST} levels")
        if isinstance(structure, list):
            return self.items(structure, depth)
        if not isinstance(structure, dict):
            return structure
        if len(structure) != 1:
            raise ValueError(f"an object has {len(structure)} keys instead of one")
        ((tag, content),) = structure.items()
        if tag not in _TAGS:
            raise ValueError(f"there is no tag {tag!r}")
        return _TAGS[tag](self, content, depth)

    def items(self, content: Any, depth: int) -> list[Any]:
        """Return the values of a list."""
        if not isinstance(content, list):
            raise TypeError(f"a {type(content).__name__} stands where a list should")
        return [self.unpack(item, depth + 1) for item in content]

    def pairs(self, content: Any, depth: int) -> list[tuple[Any, Any]]:
        """Return keys and values."""
        return [(self.unpack(key, depth + 1), self.unpack(value, depth + 1)) for key, value in content]

    def table(self, content: Any, depth: int) -> dict[str, Any]:
        """Return a dict whose keys are text."""
        return {key: self.unpack(value, depth + 1) for key, value in content.items()}

    def deque(self, content: Any, depth: int) -> deque[Any]:
        """Return a deque."""
        maxlen, items = content
        values = self.items(items, depth)
        if maxlen is not None and len(values) > maxlen:
            raise ValueError(f"a deque of at most {maxlen} holds {len(values)}")
        return deque(values, maxlen)

    def tensor(self, content: Any, depth: int) -> Tensor:
        """Return a tensor."""
        name, type_name, shape = content
        tensor = self.taken(name)
        if type_name == _PAIRS:
            tensor = torch.view_as_complex(tensor)
        if _TYPE_NAMES.get(tensor.dtype) != type_name or list(tensor.shape) != shape:
            raise ValueError(f"{name!r} is not of {type_name} and shape {shape}")
        return plain_copy(tensor)

    def array(self, content: Any, depth: int) -> np.ndarray:
        """Return an array."""
        name, type_text, shape, order = content
        dtype = _array_type(type_text)
        fortran = {"C": False, "F": True}[order]
        stored_shape = shape[::-1] if fortran else shape
        plain = self.taken(name).numpy()
        if dtype not in _ARRAY_TYPES or not dtype.isnative:
            plain = np.frombuffer(bytearray(plain.tobytes()), dtype).reshape(stored_shape)
        if plain.dtype != dtype or list(plain.shape) != stored_shape:
            raise ValueError(f"{name!r} is not of {type_text} and shape {stored_shape}")
        plain = plain.copy()
        return plain.T if fortran else plain

    def taken(self, name: Any) -> Tensor:
        """Return a tensor of the table, once."""
        if name in self.used:
            raise ValueError(f"the tensor {name!r} is used twice")
        tensor = self.tensors[name]
        self.used.add(name)
        return tensor


def _array_type(text: Any) -> np.dtype[Any]:
    if not _ARRAY_TYPE.fullmatch(text):
        raise ValueError(f"{text!r} is no numeric type")
    dtype: np.dtype[Any] = np.dtype(text)
    return dtype


def _unpack_int(text: Any) -> int:
    if not _HEXADECIMAL.fullmatch(text):
        raise ValueError("an integer is not hexadecimal")
    return int(text, 16)


def _unpack_float(text: Any) -> float:
    data = bytes.fromhex(text)
    if len(data) != 8:
        raise ValueError("a number does not have eight bytes")
    value: float = struct.unpack(">d", data)[0]
    return value


def _unpack_scalar(content: Any) -> np.generic:
    type_text, text = content
    (value,) = np.frombuffer(bytes.fromhex(text), _array_type(type_text))
    scalar: np.generic = value
    return scalar


_TAGS: dict[str, Callable[[_Unpacker, Any, int], Any]] = {
    "int": lambda unpacker, content, depth: _unpack_int(content),
    "float": lambda unpacker, content, depth: _unpack_float(content),
    "str": lambda unpacker, content, depth: bytes.fromhex(content).decode("utf-8", "surrogatepass"),
    "bytes": lambda unpacker, content, depth: base64.b64decode(content, validate=True),
    "scalar": lambda unpacker, content, depth: _unpack_scalar(content),
    "tuple": lambda unpacker, content, depth: tuple(unpacker.items(content, depth)),
    "set": lambda unpacker, content, depth: set(unpacker.items(content, depth)),
    "frozenset": lambda unpacker, content, depth: frozenset(unpacker.items(content, depth)),
    "dict": _Unpacker.table,
    "items": lambda unpacker, content, depth: dict(unpacker.pairs(content, depth)),
    "ordered": lambda unpacker, content, depth: OrderedDict(unpacker.pairs(content, depth)),
    "deque": _Unpacker.deque,
    "tensor": _Unpacker.tensor,
    "array": _Unpacker.array,
}
