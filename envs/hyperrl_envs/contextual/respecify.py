"""Writing contexts into a model's specification, for the compiler: the slow way to the same model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextSpace
from hyperrl_envs.contextual.fields import rows_of, split_field

_JOINTS = {"dof_armature": "armature", "dof_damping": "damping", "dof_frictionloss": "frictionloss"}
_OTHERS = {
    "body": frozenset({"gravcomp", "inertia", "ipos", "mass", "pos"}),
    "geom": frozenset({"friction"}),
    "jnt": frozenset({"stiffness"}),
    "actuator": frozenset({"biasprm", "dynprm", "gainprm", "gear"}),
}


def published_specification(base: Any) -> Any:
    """Return the `mujoco.MjSpec` that an environment's published model comes from, None where nobody knows.

    An environment that does not load its model from a file as it is tells with a method
    `model_specification`.

    Args:
        base: The unwrapped environment.
    """
    if hasattr(base, "model_specification"):
        return base.model_specification()
    path = getattr(base, "fullpath", None)
    if path is None or not isinstance(getattr(base, "model", None), mujoco.MjModel):
        return None
    spec = mujoco.MjSpec.from_file(path)
    is_that = len(spec.bodies) == base.model.nbody and len(spec.geoms) == base.model.ngeom
    return spec if is_that else None


def has_equivalent(space: ContextSpace) -> bool:
    """Return whether all that a space of contexts writes into a model can be said in its specification."""
    names = [
        split_field(field)[0]
        for param in space
        if param.level in ("data", "setconst")
        for field in param.fields
    ]
    return all(_attribute(name) is not None for name in names)


def respecify(spec: Any, space: ContextSpace, context: NDArray[np.float64]) -> Any:
    """Compile the model of a context from a specification.

    Args:
        spec: The specification, with all edits of level "recompile" done; it is not changed.
        space: The contexts, for which `has_equivalent` holds.
        context: Shape [d].

    Returns:
        The `mujoco.MjModel`.
    """
    own = spec.copy()
    model = _compiled(own)
    if any("body_" in field for param in space for field in param.fields):
        _write_inertias(own, model)
    for operation in ("set", "scale", "add"):
        for param, value in zip(space, context.tolist(), strict=True):
            if param.op == operation and param.level in ("data", "setconst"):
                for field in param.fields:
                    name, column = split_field(field)
                    attribute = _attribute(name)
                    assert attribute is not None
                    for part in _parts(own, model, name, rows_of(model, name, param)):
                        _change(part, attribute, column, operation, value)
    return _compiled(own)


def _compiled(spec: Any) -> Any:
    with warnings.catch_warnings():
        # It says of HalfCheetah's file what nobody who uses it can mend.
        warnings.filterwarnings("ignore", ".*settotalmass.*")
        return spec.compile()


def _attribute(name: str) -> str | None:
    if name.startswith("opt."):
        return name.removeprefix("opt.")
    prefix, _, attribute = name.partition("_")
    return _JOINTS.get(name) or (attribute if attribute in _OTHERS.get(prefix, ()) else None)


def _write_inertias(spec: Any, model: Any) -> None:
    """Say in the specification which inertias the bodies have, instead of the shapes that they come from."""
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    spec.compiler.settotalmass = -1
    for body in spec.bodies:
        if body.id:
            body.explicitinertial = True
            body.mass, body.inertia = model.body_mass[body.id], model.body_inertia[body.id]
            body.ipos, body.iquat = model.body_ipos[body.id], model.body_iquat[body.id]


def _parts(spec: Any, model: Any, name: str, rows: NDArray[np.int64] | None) -> Iterator[Any]:
    if name.startswith("opt."):
        yield spec.option
        return
    prefix = name.partition("_")[0]
    every = {"body": spec.bodies, "geom": spec.geoms, "actuator": spec.actuators}.get(prefix, spec.joints)
    chosen = None if rows is None else set(rows.tolist())
    if chosen is not None and prefix == "dof":
        chosen = set(model.dof_jntid[rows].tolist())
    for part in every:
        # The world has no inertia, and the compiler wants none.
        is_world = prefix == "body" and part.id == 0
        if not is_world and (chosen is None or part.id in chosen):
            yield part


def _change(part: Any, attribute: str, column: int | None, operation: str, value: float) -> None:
    numbers = np.array(getattr(part, attribute), np.float64)
    index: Any = ... if column is None else column
    if attribute in ("damping", "stiffness") and numbers.ndim:
        index = 0  # The others are of higher order, in arrays of their own.
    if operation == "set":
        numbers[index] = value
    elif operation == "scale":
        numbers[index] *= value
    else:
        numbers[index] += value
    setattr(part, attribute, numbers if numbers.ndim else float(numbers))
