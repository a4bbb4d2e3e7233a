"""Arrays of a MuJoCo model that contexts change: where their values are, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam, ContextSpace
from hyperrl.errors import ContextError, unknown_name

_FORM = re.compile(r"((?:opt\.)?[A-Za-z]\w*)(?:\[(\d+)\])?")
_NEEDS_MUJOCO_4 = frozenset({"body_ipos", "body_iquat", "geom_pos", "geom_quat", "geom_size"})
# Set before scaled before added to: the order of the parameters then plays no part.
_ORDER = ("set", "scale", "add")


class Field:
    """One array of a model, written from its nominal values and a context.

    Args:
        model: The `mujoco.MjModel`.
        name: The array, for example "body_mass" or "opt.gravity".
        space: The contexts; those of its parameters that name the array act upon it.

    Attributes:
        name: The array's name.
        nominal: What it is without any context.

    Raises:
        ContextError: The model has no such array of numbers, or two parameters set the same number.
        UnknownNameError: A parameter selects a part that the model does not have.
    """

    def __init__(self, model: Any, name: str, space: ContextSpace) -> None:
        self.name = name
        self._holder = model.opt if name.startswith("opt.") else model
        self._attribute = name.removeprefix("opt.")
        value = getattr(self._holder, self._attribute)
        self._is_number = not isinstance(value, np.ndarray)
        self._view: NDArray[Any] = np.array([value]) if self._is_number else value
        self.nominal: NDArray[Any] = self._view.copy()
        found = [
            (_ORDER.index(param.op), column, _index(model, field, param))
            for column, param in enumerate(space)
            for field in param.fields
            if param.level in ("data", "setconst") and split_field(field)[0] == name
        ]
        self._operations = [(_ORDER[rank], column, index) for rank, column, index in sorted_by_rank(found)]
        self._refuse_doubly_set(space)
        # Most fields are multiplied by one factor as a whole, which takes a third of the time.
        operation, column, index = self._operations[0]
        is_factor = len(found) == 1 and operation == "scale" and index is ... and not self._is_number
        # So indexed the factor is an array of shape [], by which NumPy multiplies in half the time.
        self._factor = (column, ...) if is_factor else None

    def rebase(self, nominal: NDArray[Any]) -> None:
        """Take other nominal values, those of a model that was compiled anew."""
        self.nominal = nominal.reshape(self._view.shape)

    def write(self, context: NDArray[np.float64]) -> None:
        """Write the nominal values with all that a context does to them.

        Args:
            context: Shape [d].
        """
        view = self._view
        if self._factor is not None:
            np.multiply(self.nominal, context[self._factor], out=view)
            return
        view[...] = self.nominal
        for operation, column, index in self._operations:
            value = context[column]
            if operation == "scale":
                view[index] *= value
            elif operation == "set":
                view[index] = value
            else:
                view[index] += value
        if self._is_number:
            setattr(self._holder, self._attribute, float(view[0]))

    def _refuse_doubly_set(self, space: ContextSpace) -> None:
        seen = np.zeros(self._view.shape, bool)
        for operation, column, index in self._operations:
            if operation == "set":
                if seen[index].any():
                    raise ContextError(
                        f"two context parameters, the second is {space.params[column].name}, set the same "
                        f"numbers of {self.name}: only one may"
                    )
                seen[index] = True


def sorted_by_rank(found: Sequence[tuple[int, int, Any]]) -> list[tuple[int, int, Any]]:
    """Return operations in the order in which they are done, those of equal rank as they were given."""
    return sorted(found, key=lambda item: item[0])


def split_field(field: str) -> tuple[str, int | None]:
    """Return the name and the column of a field such as "opt.gravity[2]", None for all columns.

    Raises:
        ContextError: It has another form.
    """
    match = _FORM.fullmatch(field)
    if match is None:
        raise ContextError(f"a field of a context is written like body_mass or opt.gravity[2], got {field!r}")
    return match[1], None if match[2] is None else int(match[2])


def make_fields(model: Any, space: ContextSpace) -> list[Field]:
    """Return the arrays of a model that a space of contexts changes by writing alone.

    Args:
        model: The `mujoco.MjModel`.
        space: The space.

    Raises:
        ContextError: A parameter names no array of numbers, or needs a later MuJoCo.
        UnknownNameError: A parameter selects a part that the model does not have.
    """
    names: dict[str, None] = {}
    for param in space:
        if param.level in ("data", "setconst"):
            if not param.fields:
                raise ContextError(f"the context {param.name} names no field of the model")
            for field in param.fields:
                name = split_field(field)[0]
                _check_array(model, name, param)
                names[name] = None
    return [Field(model, name, space) for name in names]


def _check_array(model: Any, name: str, param: ContextParam) -> None:
    holder = model.opt if name.startswith("opt.") else model
    value = getattr(holder, name.removeprefix("opt."), None)
    is_array = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 0
    if not (is_array or (isinstance(value, float) and holder is not model)):
        raise ContextError(f"the context {param.name} acts upon {name}, which is no array of this model")
    if name in _NEEDS_MUJOCO_4 and int(mujoco.__version__.split(".")[0]) < 4:
        raise ContextError(
            f"the context {param.name} writes {name}, which MuJoCo {mujoco.__version__} does not follow: "
            "install MuJoCo 4, or use level 'recompile'"
        )


def _index(model: Any, field: str, param: ContextParam) -> Any:
    """Return what of an array a parameter changes, as NumPy takes an index."""
    name, column = split_field(field)
    rows = rows_of(model, name, param)
    array = getattr(model.opt if name.startswith("opt.") else model, name.removeprefix("opt."))
    size = np.shape(array)
    if column is None:
        return ... if rows is None else rows
    if name.startswith("opt."):
        if not size or column >= size[0]:
            raise ContextError(f"the context {param.name} acts upon {field}, which does not exist")
        return column
    if len(size) < 2 or column >= size[1]:
        raise ContextError(f"the context {param.name} acts upon {field}, which does not exist")
    return (slice(None) if rows is None else rows, column)


def rows_of(model: Any, name: str, param: ContextParam) -> NDArray[np.int64] | None:
    """Return the rows of an array that a parameter selects, None for all.

    Parts are selected by name; an actuator without a name by that of its joint.

    Args:
        model: The `mujoco.MjModel`.
        name: The array.
        param: The parameter.

    Raises:
        ContextError: The array's rows have no names.
        UnknownNameError: The model has no such part.
    """
    if not param.select:
        return None
    prefix = name.partition("_")[0]
    if prefix not in _PARTS:
        raise ContextError(f"the context {param.name} selects parts, but the rows of {name} have no names")
    named = _PARTS[prefix](model)
    rows: list[int] = []
    for part in param.select:
        if part not in named:
            raise unknown_name(f"part of the model for the context {param.name}", part, named)
        rows += named[part]
    return np.array(rows, np.int64)


def _parts(count: str, find: str) -> Any:
    def named(model: Any) -> dict[str, list[int]]:
        names = [getattr(model, find)(index).name for index in range(getattr(model, count))]
        return {name: [index] for index, name in enumerate(names) if name}

    return named


def _dofs(model: Any) -> dict[str, list[int]]:
    joints = [model.joint(index) for index in range(model.njnt)]
    return {joint.name: list(np.flatnonzero(model.dof_jntid == joint.id)) for joint in joints if joint.name}


def _actuators(model: Any) -> dict[str, list[int]]:
    named = {}
    for index in range(model.nu):
        name = model.actuator(index).name
        if not name and model.actuator_trntype[index] == mujoco.mjtTrn.mjTRN_JOINT:
            name = model.joint(model.actuator_trnid[index, 0]).name
        if name:
            named[name] = [index]
    return named


_PARTS = {
    "body": _parts("nbody", "body"),
    "geom": _parts("ngeom", "geom"),
    "jnt": _parts("njnt", "joint"),
    "site": _parts("nsite", "site"),
    "tendon": _parts("ntendon", "tendon"),
    "dof": _dofs,
    "actuator": _actuators,
}
