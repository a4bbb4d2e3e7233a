"""All arrays of a MuJoCo model by name, to compare models and to write one into another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_PARTS = ("opt", "stat")


@cache
def _names() -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    own = tuple(
        name for name in dir(model) if name[0] != "_" and isinstance(getattr(model, name), np.ndarray)
    )
    parts = {
        part: tuple(
            name
            for name in dir(getattr(model, part))
            if name[0] != "_" and isinstance(getattr(getattr(model, part), name), np.ndarray | float | int)
        )
        for part in _PARTS
    }
    return own, parts


def read_arrays(model: Any) -> Arrays:
    """Return copies of all arrays of a model, and of its options and statistics.

    Args:
        model: The `mujoco.MjModel`.

    Returns:
        By name, for example "body_mass", "opt.gravity", "stat.meaninertia"; numbers have shape [].
    """
    own, parts = _names()
    found = {name: np.array(getattr(model, name)) for name in own}
    for part, names in parts.items():
        holder = getattr(model, part)
        found.update({f"{part}.{name}": np.array(getattr(holder, name)) for name in names})
    return found


def read_array(model: Any, name: str) -> NDArray[Any]:
    """Return a copy of one of the arrays that `read_arrays` names."""
    return np.array(getattr(*_place(model, name)))


def write_arrays(model: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into a model in place: views of it, and what draws it, stay valid.

    Args:
        model: The `mujoco.MjModel`.
        arrays: Some of those that `read_arrays` names, of the same shapes.
    """
    for name, values in arrays.items():
        holder, attribute = _place(model, name)
        if values.ndim:
            getattr(holder, attribute)[...] = values
        else:
            setattr(holder, attribute, values.item())


def differing(arrays: Mapping[str, NDArray[Any]], others: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Return the names of arrays that differ in any bit but the sign of zero, or in shape."""
    return tuple(name for name, values in arrays.items() if not _is_equal(values, others[name]))


def _is_equal(some: NDArray[Any], others: NDArray[Any]) -> bool:
    # Nearly always the bytes are the same, which is seen in a tenth of the time.
    if some.shape == others.shape and some.tobytes() == others.tobytes():
        return True
    return bool(np.array_equal(some, others, equal_nan=some.dtype.kind == "f"))


def _place(model: Any, name: str) -> tuple[Any, str]:
    part, dot, attribute = name.partition(".")
    return (getattr(model, part), attribute) if dot else (model, name)
