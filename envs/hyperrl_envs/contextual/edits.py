"""Edits of a model's specification, for contexts that need the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from hyperrl.context import ContextParam
from hyperrl.errors import unknown_name
from hyperrl_envs.contextual.recompiling import Edit

__all__ = ["EDITS", "Edit", "LimbLength", "density"]


def density(spec: Any, param: ContextParam, value: float) -> None:
    """Scale the densities of geoms: masses and inertias follow.

    With the operation "set" the value is a density in kg/m^3, of which the parameter's default is the
    published one; otherwise it is a factor.

    Args:
        spec: The `mujoco.MjSpec`.
        param: The parameter; it selects geoms, all where it selects none.
        value: Its value.
    """
    factor = value / param.default if param.op == "set" else value
    named = {geom.name: geom for geom in spec.geoms}
    for name in param.select:
        if name not in named:
            raise unknown_name(f"geom for the context {param.name}", name, named)
    for geom in [named[name] for name in param.select] or list(spec.geoms):
        geom.density *= factor
        geom.mass *= factor  # NaN where the density decides.


@dataclass(frozen=True)
class LimbLength:
    """Scales limbs along their bones: all points of a limb, not the thickness of its geoms.

    A parameter selects the limbs' bodies, each by its name or by that of one of its geoms. The robot is
    lifted, so that it begins as far above the floor as the published one.

    Attributes:
        rise: Metres that the robot rises for each unit that the factor grows.
    """

    rise: float

    def __call__(self, spec: Any, param: ContextParam, value: float) -> None:
        """Edit a specification; see `Edit`."""
        named = _bodies(spec)
        for name in param.select:
            if name not in named:
                raise unknown_name(f"body for the context {param.name}", name, named)
        limbs = {named[name].id: named[name] for name in param.select}
        # The joint of a child stays on the limb, wherever in the child's own frame it is.
        anchors = {
            child.id: (child, np.asarray(child.pos) + _joint(child))
            for limb in limbs.values()
            for child in limb.bodies
        }
        for limb in limbs.values():
            _stretch(limb, value)
        for child, anchor in anchors.values():
            child.pos = anchor * value - _joint(child)
        self._lift(spec, (value - 1.0) * self.rise)

    def _lift(self, spec: Any, height: float) -> None:
        root = spec.worldbody.first_body()
        upwards = np.array([0.0, 0.0, height])
        root.pos = np.asarray(root.pos) + upwards
        for joint in root.joints:
            if joint.type == mujoco.mjtJoint.mjJNT_SLIDE:
                # These are anchored at the world's origin; one that measures the height begins with it.
                joint.pos = np.asarray(joint.pos) - upwards
                if joint.ref:
                    joint.ref += height


def _stretch(limb: Any, factor: float) -> None:
    for geom in limb.geoms:
        if np.isfinite(geom.fromto).all():
            geom.fromto = np.asarray(geom.fromto) * factor
        else:
            geom.pos = np.asarray(geom.pos) * factor
            geom.size = np.asarray(geom.size) * [1, factor, 1]
    for joint in limb.joints:
        joint.pos = np.asarray(joint.pos) * factor


def _joint(body: Any) -> Any:
    """Return where a body's joint is in the body's frame."""
    joint = body.first_joint()
    return np.zeros(3) if joint is None else np.asarray(joint.pos).copy()


def _bodies(spec: Any) -> dict[str, Any]:
    return dict(_names(spec))


def _names(spec: Any) -> Iterator[tuple[str, Any]]:
    for body in spec.bodies:
        for name in (body.name, *(geom.name for geom in body.geoms)):
            if name:
                yield name, body


EDITS: dict[str, Edit] = {"density": density}
"""Edits that fit any model, by name."""
