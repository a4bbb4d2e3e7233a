"""The cheetah of HyperZero: run at a signed speed, with a torso of any length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from hyperrl.context import ContextParam
from hyperrl_envs.contextual.families.tasks import ASSETS, SpeedTask, measure_speeds, speed_reward
from hyperrl_envs.native.model import named
from hyperrl_envs.native.task import Array, Batch, Outcome, joined, never

TOTAL_MASS = 14.0
"""What the cheetah weighs, in kg, whatever its length: a longer torso takes from the other links."""

_HEAD_BEYOND = 0.1  # How far the head lies before the torso's end, in metres.


@dataclass(frozen=True, kw_only=True)
class CheetahRun(SpeedTask):
    """Run at a speed; the reward is that of `speed_reward` for the velocity of the centre of mass along x.

    The observation has 17 numbers: the positions but for the first, then all velocities.

    Attributes:
        xml_file: Path of the model.
        frame_skip: Simulation steps of one step; 1 is 100 Hz.
        target: See `SpeedTask`, in m/s.
    """

    drawn: ClassVar[dict[int, tuple[float, float]]] = {
        3: (-0.52, 1.05),
        4: (-0.785, 0.785),
        5: (-0.4, 0.785),
        6: (-1.0, 0.7),
        7: (-1.2, 0.87),
        8: (-0.5, 0.5),
    }

    xml_file: str = str(ASSETS / "cheetah.xml")
    frame_skip: int = 1
    target: float = 10.0

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities and that of the centre of mass, see `Task.views`."""
        torso = named(model.body, "body", "torso").id
        return {**super().views(model, data), "moving": data.subtree_linvel[torso]}

    def measure(self, model: Any, data: Any) -> None:
        """Compute the velocity of the centre of mass, see `Task.measure`."""
        measure_speeds(model, data)

    def observation(self, batch: Batch) -> Array:
        """Return positions and velocities, see `Task.observation`."""
        return joined((batch["qpos"][:, 1:], batch["qvel"]))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward the speed, see `Task.outcome`."""
        speeds = after["moving"][:, 0]
        return Outcome(speed_reward(speeds, self.target), never(after), {"speed": speeds})


def set_length(spec: Any, param: ContextParam, length: float) -> None:
    """Give the cheetah a torso of another length and its total mass again.

    Args:
        spec: The `mujoco.MjSpec` of `cheetah.xml`, which is changed.
        param: The context's parameter.
        length: Half the length in metres; that of the file is 0.5.
    """
    for geom in spec.geoms:
        if geom.name == "torso":
            geom.fromto = [-length, 0, 0, length, 0, 0]
        elif geom.name == "head":
            geom.pos = [length + _HEAD_BEYOND, 0, geom.pos[2]]
    spec.body("bthigh").pos = [-length, 0, 0]
    spec.body("fthigh").pos = [length, 0, 0]
    density = TOTAL_MASS / sum(_volume(geom) for geom in spec.geoms if geom.name != "floor")
    for geom in spec.geoms:
        geom.density = density


def _volume(capsule: Any) -> float:
    """Return the volume of a capsule, given by two ends or by half its length."""
    ends = capsule.fromto
    half = float(capsule.size[1]) if math.isnan(ends[0]) else math.dist(ends[:3], ends[3:]) / 2
    radius = float(capsule.size[0])
    return math.pi * radius**2 * (2 * half + 4 / 3 * radius)
