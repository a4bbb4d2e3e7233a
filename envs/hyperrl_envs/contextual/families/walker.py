"""The walker of HyperZero: walk at a signed speed without falling, with a torso of any length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam
from hyperrl_envs.contextual.families.tasks import ASSETS, SpeedTask, measure_speeds, speed_reward
from hyperrl_envs.native.model import named
from hyperrl_envs.native.task import Array, Batch, Outcome, joined, never

_HIP, _KNEE, _ANKLE = (-0.35, 1.75), (-2.6, 0.0), (-0.78, 0.78)
_STANDING = 1.2  # Height of the torso's middle from which on the walker stands, in metres.
_MARGIN = 0.6  # So much lower 0.1 of that reward remains.
_STEEPNESS = math.sqrt(-2 * math.log(0.1))


@dataclass(frozen=True, kw_only=True)
class WalkerWalk(SpeedTask):
    """Walk at a speed, upright.

    The reward is ``stand (5 move + 1) / 6`` with ``stand = (3 tall + (1 + upright) / 2) / 4``: `move` is that
    of `speed_reward` for the velocity of the centre of mass along x; `tall` is 1 from 1.2 m of the torso's
    height on and falls as a Gaussian below, to 0.1 at 0.6 m; `upright` is the vertical part of the torso's
    axis.

    The observation has 24 numbers: for each of the seven links the x and z parts of its x axis, the height of
    the torso in metres, and all velocities. Starts have all attitudes, most of them lie down.

    Attributes:
        xml_file: Path of the model.
        frame_skip: Simulation steps of one step; 10 are 40 Hz.
        target: See `SpeedTask`, in m/s.
    """

    drawn: ClassVar[dict[int, tuple[float, float]]] = {
        2: (-math.pi, math.pi),
        **dict(enumerate((_HIP, _KNEE, _ANKLE, _HIP, _KNEE, _ANKLE), start=3)),
    }

    xml_file: str = str(ASSETS / "walker.xml")
    frame_skip: int = 10
    target: float = 1.0

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return velocities, the links' attitudes and the torso's place, see `Task.views`."""
        torso = named(model.body, "body", "torso").id
        return {
            **super().views(model, data),
            "moving": data.subtree_linvel[torso],
            "place": data.xpos[torso],
            "attitude": data.xmat[torso],
            "attitudes": data.xmat[1:],
        }

    def measure(self, model: Any, data: Any) -> None:
        """Compute poses and the velocity of the centre of mass, see `Task.measure`."""
        measure_speeds(model, data)

    def observation(self, batch: Batch) -> Array:
        """Return attitudes, height and velocities, see `Task.observation`."""
        # A matrix row by row: how far the x axis points along x, and the z axis along x.
        return joined((batch["attitudes"][:, :, (0, 2)], batch["place"][:, 2:], batch["qvel"]))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward standing and moving, see the class; see `Task.outcome`."""
        low = np.maximum(_STANDING - after["place"][:, 2], 0) / _MARGIN * _STEEPNESS
        upright = (1 + after["attitude"][:, 8]) / 2
        stand = (3 * np.exp(-(low * low) / 2) + upright) / 4
        speeds = after["moving"][:, 0]
        rewards = walking_reward(stand, speeds, self.target)
        return Outcome(rewards, never(after), {"speed": speeds, "stand": stand})


def walking_reward(stand: Array, speeds: Array, targets: Any) -> Array:
    """Reward standing and moving together, see `WalkerWalk`.

    Args:
        stand: How well the walker stands, from 0 to 1, shape [n].
        speeds: Along x in m/s, shape [n].
        targets: In m/s, shape [n] or one for all.
    """
    return np.asarray(stand * (5 * speed_reward(speeds, targets) + 1) / 6)


def set_length(spec: Any, param: ContextParam, length: float) -> None:
    """Give the walker a torso of another length; its mass grows with it, and the hips stay where they are.

    Args:
        spec: The `mujoco.MjSpec` of `walker.xml`, which is changed.
        param: The context's parameter.
        length: Half the length in metres; that of the file is 0.3.
    """
    torso = spec.geom("torso")
    torso.size = [torso.size[0], length, 0]
