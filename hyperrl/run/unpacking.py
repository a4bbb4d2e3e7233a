"""The way back from what `hyperrl.run.packing` wrote; nothing of it is believed before it is checked."""

from __future__ import annotations

import base64
import re
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperrl.errors import CheckpointCorruptError
from hyperrl.run.packing import DEEPEST
from hyperrl.run.tensors import ARRAY_TYPES, PAIRS, TYPE_NAMES, plain_copy

_ARRAY_TYPE = re.compile(r"[<>|][biufc][0-9]{1,2}")
_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]+")


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


class _Unpacker:
    """One pass over a structure; any malformed part raises some exception, which `unpack` translates."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.used: set[str] = set()

    def unpack(self, structure: Any, depth: int) -> Any:
        """Return the value that a structure stands for."""
        if depth > DEEPEST:
            raise ValueError(f"it nests deeper than {DEEPEST} levels")
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
        if type_name == PAIRS:
            tensor = torch.view_as_complex(tensor)
        if TYPE_NAMES.get(tensor.dtype) != type_name or list(tensor.shape) != shape:
            raise ValueError(f"{name!r} is not of {type_name} and shape {shape}")
        return plain_copy(tensor)

    def array(self, content: Any, depth: int) -> np.ndarray:
        """Return an array."""
        name, type_text, shape, order = content
        dtype = _array_type(type_text)
        fortran = {"C": False, "F": True}[order]
        stored_shape = shape[::-1] if fortran else shape
        plain = self.taken(name).numpy()
        if dtype not in ARRAY_TYPES or not dtype.isnative:
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
