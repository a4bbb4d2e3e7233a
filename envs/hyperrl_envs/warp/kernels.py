"""What MuJoCo Warp's simulation is corrected by; importing this module needs warp."""

from __future__ import annotations

from typing import Any

import mujoco
import warp as wp

_PLANE = wp.constant(int(mujoco.mjtGeom.mjGEOM_PLANE))
_CAPSULE = wp.constant(int(mujoco.mjtGeom.mjGEOM_CAPSULE))


def needs_aligned_contacts(model: Any) -> bool:
    """Return whether a `mujoco.MjModel` has both planes and capsules, see `align_contacts`."""
    return bool({int(_PLANE), int(_CAPSULE)} <= set(model.geom_type.tolist()))


def align_contacts(model: Any, data: Any) -> None:
    """Turn the frames of contacts between planes and capsules to where MuJoCo has them.

    MuJoCo's first tangent is along the capsule, however steep it stands. MuJoCo Warp takes a fixed direction
    where the angle to the plane is above 60 degrees, which turns the pyramid that friction is approximated
    by: legs of an Ant then slide otherwise. It is called after contacts are found and before constraints are
    made of them.

    Args:
        model: The `mujoco_warp.Model`.
        data: The `mujoco_warp.Data`.
    """
    contact = data.contact
    wp.launch(
        _align,
        dim=data.naconmax,
        inputs=[data.nacon, data.naconmax, contact.geom, contact.worldid, model.geom_type, data.geom_xmat],
        outputs=[contact.frame],
    )


@wp.kernel(enable_backward=False)
def _align(
    count: wp.array[int],
    room: int,
    geoms: wp.array[wp.vec2i],
    worlds: wp.array[int],
    kinds: wp.array[int],
    orientations: wp.array2d[wp.mat33],
    frames: wp.array[wp.mat33],
) -> None:
    index = wp.tid()
    if index >= wp.min(count[0], room):
        return
    pair = geoms[index]
    # Contacts of soft bodies have no shape on one side.
    if pair[0] < 0 or pair[1] < 0:
        return
    if kinds[pair[0]] != _PLANE or kinds[pair[1]] != _CAPSULE:
        return
    frame = frames[index]
    normal = wp.vec3(frame[0, 0], frame[0, 1], frame[0, 2])
    turned = orientations[worlds[index], pair[1]]
    axis = wp.vec3(turned[0, 2], turned[1, 2], turned[2, 2])
    along = axis - normal * wp.dot(normal, axis)
    length = wp.length(along)
    if length == 0.0:
        return
    first = along / length
    second = wp.cross(normal, first)
    frames[index] = wp.matrix_from_rows(normal, first, second)
