"""How much room contacts and constraints need.

MuJoCo Warp keeps them in buffers of fixed size and leaves out what does not fit. Where the most that a model
can have is small, as in every task but Humanoid, that is the size, and nothing can be left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import mujoco

_PLANE, _SPHERE = mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_SPHERE
_CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
_MOST_CONTACTS = {  # Of two shapes, the number of the lower kind first.
    (_PLANE, _SPHERE): 1,
    (_PLANE, _CAPSULE): 2,
    (_SPHERE, _SPHERE): 1,
    (_SPHERE, _CAPSULE): 1,
    (_CAPSULE, _CAPSULE): 2,
}
_OTHER_CONTACTS = 8  # Of any other two.
_ENOUGH_CONTACTS, _ENOUGH_ROWS = 64, 192


class Room(NamedTuple):
    """Sizes of buffers.

    Attributes:
        contacts: Contacts of one world on average; all worlds share the room.
        rows: Rows of constraints in each world.
    """

    contacts: int
    rows: int


def choose_room(model: Any) -> Room:
    """Return the most that the model can have, or what falling bodies need with a margin where that is large.

    Args:
        model: The `mujoco.MjModel`.
    """
    most = most_room(model)
    return Room(min(most.contacts, _ENOUGH_CONTACTS), min(most.rows, _ENOUGH_ROWS))


def most_room(model: Any) -> Room:
    """Return the most contacts and rows that a model can have at a time.

    Args:
        model: The `mujoco.MjModel`.
    """
    contacts = rows = 0
    for one, other in _colliding(model):
        kinds = sorted((int(model.geom_type[one]), int(model.geom_type[other])))
        count = _MOST_CONTACTS.get((kinds[0], kinds[1]), _OTHER_CONTACTS)
        dimensions = int(max(model.geom_condim[one], model.geom_condim[other]))
        contacts += count
        rows += count * (1 if dimensions == 1 else 2 * (dimensions - 1))
    for index in range(model.npair):
        contacts += _OTHER_CONTACTS
        rows += _OTHER_CONTACTS * 2 * int(model.pair_dim[index])
    # A limit of a joint has two sides, but only one is met at a time unless they touch.
    rows += 2 * int(model.jnt_limited.sum() + model.tendon_limited.sum())
    rows += int((model.dof_frictionloss > 0).sum() + (model.tendon_frictionloss > 0).sum())
    return Room(contacts, rows + 6 * int(model.neq))


def _colliding(model: Any) -> Iterator[tuple[int, int]]:
    """Yield pairs of shapes between which MuJoCo looks for contacts, and perhaps some more."""
    excluded = set(model.exclude_signature.tolist())
    for one, other in itertools.combinations(range(model.ngeom), 2):
        bodies = sorted((int(model.geom_bodyid[one]), int(model.geom_bodyid[other])))
        if _rigid(model, *bodies) or (bodies[0] << 16) + bodies[1] in excluded:
            continue
        meets = model.geom_contype[one] & model.geom_conaffinity[other]
        if meets or model.geom_contype[other] & model.geom_conaffinity[one]:
            yield one, other


def _rigid(model: Any, one: int, other: int) -> bool:
    """Return whether two bodies are fixed to each other, or joined directly and not to the world."""
    welds = [int(model.body_weldid[body]) for body in (one, other)]
    if welds[0] == welds[1]:
        return True
    parents = [int(model.body_weldid[model.body_parentid[weld]]) for weld in welds]
    return 0 not in welds and (welds[0] == parents[1] or welds[1] == parents[0])
