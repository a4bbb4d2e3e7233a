"""The artefact for the Crazyflie: the policy in C99 and the controller that flies it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hyperrl.errors import ExportError
from hyperrl.exporters.base import Act, Artefact
from hyperrl.exporters.c99 import C99Exporter
from hyperrl.exporters.c99.functions import fill
from hyperrl.exporters.c99.numbers import literal
from hyperrl.exporters.crazyflie import training
from hyperrl.exporters.crazyflie.controller import CompiledController, Setpoint, VehicleState
from hyperrl.exporters.crazyflie.footprint import footprint_text

FIRMWARE_FILES = ("hyperrl_controller.h", "hyperrl_controller.c", "Kbuild", "Makefile", "app-config")
_GUIDE = "CRAZYFLIE.md"
_NUMBERS = {
    "thrust": training.MOTOR_THRUST,
    "position_clip": training.POSITION_CLIP,
    "velocity_clip": training.VELOCITY_CLIP,
    "heading_clip": training.HEADING_CLIP,
    "position_limit": training.POSITION_LIMIT,
    "speed_limit": training.SPEED_LIMIT,
    "rate_limit": training.RATE_LIMIT,
}
# Of full thrust. The quaternion of a rotation matrix, and the matrix again, are rounded to float32.
_TOLERANCE = 1e-4


class CrazyflieExporter(C99Exporter):
    """The files of `C99Exporter`, `hyperrl_controller.c` and what builds the firmware with it."""

    name: ClassVar[str] = "crazyflie"
    usage: ClassVar[str] = (
        "`CRAZYFLIE.md` says how to build the firmware with this policy, how to switch it on, what its "
        "watchdog does, and what was proved and what was not: **nobody has flown these files on a "
        "robot.**\n\n"
        "```\nmake CRAZYFLIE_BASE=path/to/crazyflie-firmware cf2_defconfig\n"
        "make CRAZYFLIE_BASE=path/to/crazyflie-firmware\n```\n\n"
        "`hyperrl fly DIR` flies the simulated quadrotor through `hyperrl_controller.c`, compiled on a "
        "computer. `@p@.h` and `@p@.c` are the policy alone, as the format c99 has them.\n"
    )

    def export(self, artefact: Artefact, folder: Path) -> dict[str, Any]:
        """Write files, see `Exporter.export`.

        Args:
            artefact: What to write.
            folder: Where.

        Raises:
            ExportError: The policy is not one of the quadrotor, or the controller does not command what the
                policy does.
        """
        training.check_quadrotor(artefact)
        details = super().export(artefact, folder)
        prefix = {"p": artefact.prefix, "P": artefact.prefix.upper()}
        constants = {name: literal(number) for name, number in _NUMBERS.items()}
        for name in FIRMWARE_FILES:
            (folder / name).write_text(fill(_source(name), **constants, **prefix), encoding="ascii")
        numbers = {name: f"{number:g}" for name, number in _NUMBERS.items()}
        guide = fill(_source(_GUIDE), footprint=footprint_text(artefact), **numbers, **prefix)
        (folder / _GUIDE).write_text(guide, encoding="ascii")
        _check_commands(CompiledController(folder, artefact.prefix), artefact)
        return details

    def load(self, folder: Path, details: Mapping[str, Any]) -> Act:
        """Compile the policy and the controller, and load the policy, see `Exporter.load`.

        Args:
            folder: Where.
            details: What `export` returned.

        Raises:
            ExportError: One does not compile, or a self-test fails.
        """
        act = super().load(folder, details)
        if not CompiledController(folder, details["prefix"]).self_test():
            raise ExportError("the self-test of the exported controller fails")
        return act


def _source(name: str) -> str:
    return files("hyperrl.exporters.crazyflie").joinpath("firmware", name).read_text(encoding="ascii")


def _check_commands(controller: CompiledController, artefact: Artefact) -> None:
    """Compare the controller's commands with the policy's actions in the states of the test vectors."""
    controller.self_test()
    rows = [index for index, kind in enumerate(artefact.vectors.kinds) if kind == "rollout"]
    expected = (artefact.policy(artefact.vectors.observations, np.float64) + 1) / 2
    for row in rows:
        observation = artefact.vectors.observations[row].astype(np.float64)
        if not _is_shown_whole(observation):
            continue
        controller.start()
        controller.enable(True)
        shares = controller.step(_state_of(observation), Setpoint(), 1)
        error = float(np.abs(shares - expected[row]).max())
        # int8 weights round where a float that is nearly the same would not.
        if artefact.weights == "float32" and not error <= _TOLERANCE + artefact.close.tolerance:
            raise ExportError(
                f"the controller commands {error:.2g} of full thrust more or less than the policy at test "
                f"vector {row}"
            )


def _is_shown_whole(observation: Any) -> bool:
    """Return whether the controller shows a state as it is, neither clipped nor refused."""
    heading = np.arctan2(observation[9], observation[6])
    return bool(
        np.all(np.abs(observation[:3]) < training.POSITION_CLIP)
        and np.all(np.abs(observation[3:6]) < training.VELOCITY_CLIP)
        and abs(heading) < training.HEADING_CLIP
        and observation[14] > 0
        and np.linalg.norm(observation[15:]) < training.RATE_LIMIT
    )


def _state_of(observation: Any) -> VehicleState:
    """Return the state, about a setpoint that rests at the origin, that an observation was made of."""
    rotation = observation[6:15].reshape(3, 3)
    # The eigenvector of Bar-Itzhack's matrix: it needs no cases for large angles (New Method for Extracting
    # the Quaternion from a Rotation Matrix, Journal of Guidance, Control, and Dynamics 23(6), 2000).
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(matrix)[1][:, -1]
    return VehicleState(
        position=tuple(observation[:3]),
        velocity=tuple(observation[3:6]),
        quaternion=(w, x, y, z),
        angular_rate=tuple(observation[15:]),
    )
