"""Writing contexts into a MuJoCo model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam, ContextSpace
from hyperrl.errors import ContextError
from hyperrl_envs.contextual.arrays import Arrays, differing, read_arrays, write_arrays
from hyperrl_envs.contextual.edits import EDITS
from hyperrl_envs.contextual.fields import make_fields
from hyperrl_envs.contextual.recompiling import Edit, Recompiler

__all__ = ["ModelWriter"]


class ModelWriter:
    """Writes contexts into one model, always from its published values: nothing compounds.

    Every parameter is tried when the object is built: one that changes nothing in this model is refused, and
    so is one whose level leaves derived values behind. The model is then as it was.

    Args:
        model: The `mujoco.MjModel`, which nobody else shares and which has its published values now.
        space: The contexts. Parameters of level "reward" are not its business.
        source: The file that the model was loaded from, or its `mujoco.MjSpec`; needed for parameters of
            level "recompile" alone.
        edits: Edits of the specification by name, for such parameters.

    Attributes:
        changed: Names of the model's arrays that contexts change, those in its options as "opt.gravity".
        recompiles: Whether a parameter needs the compiler: then also the model's own start may change.

    Raises:
        ContextError: A parameter has no effect on this model, needs another level or contradicts another.
        UnknownNameError: A parameter selects a part, or names an edit, that there is not.
    """

    def __init__(
        self,
        model: Any,
        space: ContextSpace,
        *,
        source: Any = None,
        edits: Mapping[str, Edit] = EDITS,
    ) -> None:
        self.model, self.space = model, space
        self._nominal: Arrays = read_arrays(model)
        self._fields = make_fields(model, space)
        self._recompiler = Recompiler(self._spec(source), self._nominal, space, edits)
        self.recompiles = self._recompiler.is_needed
        self._sets_constants = any(param.level == "setconst" for param in space)
        self._scratch = mujoco.MjData(model)
        self._derive_from(model)
        # A file may also say them itself.
        self._has_mean_inertia = _mean(self._dof_inertias) == model.stat.meaninertia
        self._has_mean_mass = _mean(self._body_masses) == model.stat.meanmass
        self._compiled: Arrays = {}
        self._kept = self._overridden()
        self.changed: tuple[str, ...] = ()
        if self._fields or self.recompiles:
            self.changed = self._try_all()

    def write(self, context: NDArray[np.float64]) -> None:
        """Write a context: what follows depends on it alone and not on what was written before.

        Args:
            context: Values in the space, shape [d]; they are not checked.

        Raises:
            ContextError: The compiler refuses the result. The model is unchanged then.
        """
        if self.recompiles:
            self._rebase(self._recompiler.changes(context))
        for field in self._fields:
            field.write(context)
        if self._sets_constants:
            # It would leave the model's own start in the data of the environment.
            mujoco.mj_setConst(self.model, self._scratch)
            self._set_statistics()
            if self._kept:
                write_arrays(self.model, self._kept)

    def redrawn_with(self, own: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of all arrays that episodes may change; see `simulator_state`.

        Args:
            own: Those that the task itself draws anew in each episode.

        Raises:
            ContextError: Contexts change one of them, too.
        """
        both = set(own) & set(self.changed)
        if both:
            raise ContextError(
                f"the task draws {min(both)} anew in each episode, which the context changes too: switch "
                "that off"
            )
        rounded: list[str] = []
        if self.recompiles:
            # Which numbers the compiler rounds otherwise differs from value to value.
            rounded = [
                name
                for name, values in self._nominal.items()
                if values.dtype.kind == "f" and not name.startswith("opt.")
            ]
        return (*own, *dict.fromkeys((*self.changed, *rounded)))

    def twin(self, model: Any) -> ModelWriter:
        """Return what writes the same contexts into another model, without trying the parameters again.

        Models that were compiled anew are remembered for all twins together.

        Args:
            model: A copy of this one's `mujoco.MjModel` with its published values.
        """
        other = copy.copy(self)
        other.model = model
        other._fields = make_fields(model, self.space)
        other._derive_from(model)
        other._compiled = {}
        return other

    def edited(self, context: NDArray[np.float64]) -> Any:
        """Return a new `mujoco.MjSpec` with the edits of a context, without what is written into a model.

        Args:
            context: Shape [d].

        Raises:
            ContextError: No parameter needs the compiler.
        """
        if not self.recompiles:
            raise ContextError("no parameter of this context is of level 'recompile'")
        return self._recompiler.edited(context)

    def nominal(self) -> Arrays:
        """Return copies of all arrays of the published model, see `arrays.read_arrays`."""
        return {name: values.copy() for name, values in self._nominal.items()}

    def _derive_from(self, model: Any) -> None:
        """Keep views of what statistics are derived from: to ask MuJoCo each time takes longer."""
        self._statistics, self._dof_inertias = model.stat, model.dof_M0
        self._body_masses = model.body_mass[1:]

    def _set_statistics(self) -> None:
        """Compute what the compiler does and `mj_setConst` does not: the solver's tolerance depends on it."""
        if self._has_mean_inertia:
            self._statistics.meaninertia = _mean(self._dof_inertias)
        if self._has_mean_mass:
            self._statistics.meanmass = _mean(self._body_masses)

    def _spec(self, source: Any) -> Any:
        if not any(param.level == "recompile" for param in self.space):
            return None
        if source is None:
            raise ContextError("contexts of level 'recompile' need the file that the model was loaded from")
        return mujoco.MjSpec.from_file(source) if isinstance(source, str) else source

    def _rebase(self, compiled: Arrays) -> None:
        """Take another compiled model for the published one."""
        if compiled is self._compiled:
            return
        back = {name: self._nominal[name] for name in self._compiled if name not in compiled}
        write_arrays(self.model, {**back, **compiled})
        self._compiled = compiled
        for field in self._fields:
            field.rebase(compiled.get(field.name, self._nominal[field.name]))

    def _overridden(self) -> Arrays:
        """Return what a file says itself and `mj_setConst` would compute otherwise, such as the extent."""
        mujoco.mj_setConst(self.model, self._scratch)
        kept = {name: self._nominal[name] for name in differing(self._nominal, read_arrays(self.model))}
        write_arrays(self.model, kept)
        return kept

    def _try_all(self) -> tuple[str, ...]:
        changed: dict[str, None] = {}
        try:
            for column, param in enumerate(self.space):
                if param.level != "reward":
                    changed |= dict.fromkeys(self._try(column, param))
        finally:
            self.write(self.space.default)
            left = differing(self._nominal, read_arrays(self.model))
            write_arrays(self.model, {name: self._nominal[name] for name in left})
        if left:
            raise ContextError(
                f"the default context changes {left[0]} of the model: the defaults of "
                f"{', '.join(self.space.names)} must be the published values"
            )
        return tuple(changed)

    def _try(self, column: int, param: ContextParam) -> tuple[str, ...]:
        """Return what the ends of a parameter's range change, and refuse a parameter that changes nothing."""
        changed: dict[str, None] = {}
        for value in {param.low, param.high} if not param.choices else set(param.choices):
            context = self.space.default.copy()
            context[column] = value
            self.write(context)
            arrays = read_arrays(self.model)
            changed |= dict.fromkeys(differing(self._nominal, arrays))
            if param.level == "data" and not self._sets_constants:
                self._check_level(param, arrays)
        if not changed:
            raise ContextError(
                f"the context {param.name} has no effect on this model: "
                f"{', '.join(param.fields)} stays the same for every value"
            )
        return tuple(changed)

    def _check_level(self, param: ContextParam, arrays: Arrays) -> None:
        mujoco.mj_setConst(self.model, self._scratch)
        derived = differing(arrays, read_arrays(self.model))
        write_arrays(self.model, {name: arrays[name] for name in derived})
        stale = [name for name in derived if name not in self._kept]
        if stale:
            raise ContextError(
                f"the context {param.name} leaves {stale[0]} as it was: give it level 'setconst'"
            )


def _mean(numbers: NDArray[np.float64]) -> float:
    # In the compiler's own order, number by number, for the same bits.
    return float(sum(numbers.tolist())) / max(len(numbers), 1)
