"""The finger of HyperZero: spin a body at a signed speed, with a second link of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam
from hyperrl.errors import ConfigError
from hyperrl_envs.contextual.families.tasks import ASSETS, SpeedTask, speed_reward
from hyperrl_envs.native.task import Array, Batch, Outcome, joined, never

_REACH = 0.13  # How far the marked end of the spinner is from its hinge, in metres.
_LINK = (-1.92, 1.92)
_TIP = (-0.03, 0.001)  # Where the tip begins and ends, seen from the end of the link.
_SPINNER_BEYOND, _SPINNER_SHORTER = 0.04, 0.07


@dataclass(frozen=True, kw_only=True)
class FingerSpin(SpeedTask):
    """Spin the body; the reward is that of `speed_reward` for the velocity of its hinge.

    The observation has 9 numbers: the angles of the two links, where the spinner's end is seen from its hinge
    (x and z in metres), the velocities of the links and of the spinner, and ``log(1 + force)`` of the two
    places that feel touch, in newtons; they are one simulation step behind.

    Attributes:
        xml_file: Path of the model.
        frame_skip: Simulation steps of one step; 2 are 50 Hz.
        target: See `SpeedTask`, in rad/s; a positive one turns the spinner's upper end to the finger.
    """

    drawn: ClassVar[dict[int, tuple[float, float]]] = {0: _LINK, 1: _LINK, 2: (-np.pi, np.pi)}

    xml_file: str = str(ASSETS / "finger.xml")
    frame_skip: int = 2
    target: float = 15.0

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities and forces, see `Task.views`."""
        if len(data.sensordata) != 2 or model.nq != 3:
            raise ConfigError("the model of the finger needs three joints and two places that feel touch")
        return {**super().views(model, data), "touch": data.sensordata}

    def observation(self, batch: Batch) -> Array:
        """Return angles, velocities and touch, see `Task.observation`."""
        # Contiguous: how NumPy computes sines may depend on the stride.
        angles = batch["qpos"][:, 2].copy()
        end = np.stack([-np.sin(angles), np.cos(angles)], axis=1) * _REACH
        return joined((batch["qpos"][:, :2], end, batch["qvel"], np.log1p(batch["touch"])))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward the speed, see `Task.outcome`."""
        speeds = after["qvel"][:, 2]
        return Outcome(speed_reward(speeds, self.target), never(after), {"speed": speeds})


def set_length(spec: Any, param: ContextParam, length: float) -> None:
    """Give the finger a second link of another length, and a spinner that goes with it.

    Args:
        spec: The `mujoco.MjSpec` of `finger.xml`, which is changed.
        param: The context's parameter.
        length: In metres; that of the file is 0.16.
    """
    spec.geom("distal").fromto = [0, 0, 0, length, 0, 0]
    begin, end = (length + offset for offset in _TIP)
    spec.geom("tip").fromto = [begin, 0, 0, end, 0, 0]
    spinner = spec.body("spinner")
    spinner.pos = [length + _SPINNER_BEYOND, 0, spinner.pos[2]]
    for geom in spinner.geoms:
        geom.size = [geom.size[0], length - _SPINNER_SHORTER, 0]
