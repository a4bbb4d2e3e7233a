"""Models that are compiled anew from an edited specification, each distinct one once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam, ContextSpace
from hyperrl.errors import ContextError, unknown_name
from hyperrl_envs.contextual.arrays import Arrays, differing, read_arrays

Edit = Callable[[Any, ContextParam, float], None]
"""Changes a `mujoco.MjSpec` in place, given the parameter and its value."""

_KEPT = 512  # Compiled models that are remembered.


class Recompiler:
    """Gives the arrays of the models that contexts compile to.

    Args:
        spec: The specification of the published model; it is not changed.
        nominal: The arrays of the model in use.
        space: The contexts; only parameters of level "recompile" play a part.
        edits: The edits by name.

    Attributes:
        is_needed: Whether any parameter needs the compiler.

    Raises:
        UnknownNameError: A parameter names an edit that there is not.
        ContextError: The specification is not that of the model in use.
    """

    def __init__(self, spec: Any, nominal: Arrays, space: ContextSpace, edits: Mapping[str, Edit]) -> None:
        self._space = space
        self._nominal = nominal
        self._edits = [
            (column, param, _named(edits, param))
            for column, param in enumerate(space)
            if param.level == "recompile"
        ]
        self.is_needed = bool(self._edits)
        self._known: OrderedDict[tuple[float, ...], Arrays] = OrderedDict()
        if self.is_needed:
            self._spec = with_masses_of_its_own(spec)
            self._check_same(read_arrays(self._spec.copy().compile()))

    def changes(self, context: NDArray[np.float64]) -> Arrays:
        """Return the arrays that differ from the nominal ones once a context is compiled.

        Args:
            context: Shape [d].

        Raises:
            ContextError: The compiler refuses the result, or it has other sizes.
        """
        # Exactly: with rounded values an episode would depend on which of two neighbours came first.
        key = tuple(float(context[column]) for column, _, _ in self._edits)
        if key == tuple(param.default for _, param, _ in self._edits):
            return {}
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        arrays = read_arrays(self._compile(context))
        changed = differing(self._nominal, arrays)
        self._check_shapes(arrays, changed)
        self._known[key] = {name: arrays[name] for name in changed}
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return self._known[key]

    def edited(self, context: NDArray[np.float64]) -> Any:
        """Return the `mujoco.MjSpec` with a context's edits.

        Args:
            context: Shape [d].
        """
        spec = self._spec.copy()
        for column, param, edit in self._edits:
            if context[column] != param.default:
                edit(spec, param, float(context[column]))
        return spec

    def _compile(self, context: NDArray[np.float64]) -> Any:
        try:
            return self.edited(context).compile()
        except ValueError as error:
            raise ContextError(
                f"the context {self._space.text(context)} makes no model: {str(error).splitlines()[0]}"
            ) from error

    def _check_same(self, compiled: Arrays) -> None:
        for name in differing(self._nominal, compiled):
            found, expected = compiled[name], self._nominal[name]
            if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-9, atol=1e-12):
                raise ContextError(
                    f"the model in use has another {name} than its file: contexts of level 'recompile' need "
                    "a model as it was loaded"
                )

    def _check_shapes(self, arrays: Arrays, changed: tuple[str, ...]) -> None:
        for name in changed:
            if arrays[name].shape != self._nominal[name].shape:
                changing = ", ".join(param.name for _, param, _ in self._edits)
                raise ContextError(
                    f"the contexts {changing} change the size of {name} from {self._nominal[name].shape} to "
                    f"{arrays[name].shape}: observations and actions must keep their shapes"
                )


def with_masses_of_its_own(spec: Any) -> Any:
    """Return a copy of a specification that no longer scales its masses to a given total.

    Such a total would undo what an edit does to sizes and densities. Densities and masses are scaled once,
    so that the model stays the same.

    Args:
        spec: The `mujoco.MjSpec`.
    """
    own = spec.copy()
    total = own.compiler.settotalmass
    if total <= 0:
        return own
    own.compiler.settotalmass = -1
    factor = total / own.copy().compile().body_subtreemass[0]
    for geom in own.geoms:
        geom.density *= factor
        geom.mass *= factor  # NaN where the density decides.
    for body in own.bodies:
        if body.explicitinertial:
            body.mass *= factor
            body.inertia = np.asarray(body.inertia) * factor
    return own


def _named(edits: Mapping[str, Edit], param: ContextParam) -> Edit:
    if len(param.fields) != 1:
        raise ContextError(
            f"the context {param.name} must name exactly one edit of the model's specification"
        )
    if param.fields[0] not in edits:
        raise unknown_name(f"edit for the context {param.name}", param.fields[0], edits)
    return edits[param.fields[0]]
