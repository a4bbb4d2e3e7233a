"""The exported controller on a computer: compiled with headers that stand for the firmware's, and called."""

from __future__ import annotations

import ctypes
import math
import tempfile
from dataclasses import dataclass
from enum import IntEnum
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ArtefactError, ExportError
from hyperrl.exporters.c99.compiling import compile_c, load_library

MOTORS = 4
OBSERVATIONS = 18
Triple = tuple[float, float, float]
_FLAGS = ("-std=gnu11", "-fPIC", "-shared")  # The dialect of the firmware.
_FLOATS = ctypes.POINTER(ctypes.c_float)


class Mode(IntEnum):
    """Who controls, as `hyperrl_controller.h` has it."""

    PID = 0
    POLICY = 1
    TRIPPED = 2
    STOPPED = 3


class Reason(IntEnum):
    """Why it is not the policy, as `hyperrl_controller.h` has it."""

    NONE = 0
    SELF_TEST_FAILED = 1
    OTHER_SETPOINT = 2
    NO_SETPOINT = 3
    STALE_SETPOINT = 4
    BROKEN_STATE = 5
    FAR = 6
    FAST = 7
    TILTED = 8
    SPINNING = 9
    BAD_ACTION = 10


class SetpointMode(IntEnum):
    """The firmware's `stab_mode_t`."""

    DISABLED = 0
    ABSOLUTE = 1
    VELOCITY = 2


@dataclass(frozen=True)
class VehicleState:
    """What the firmware's estimator and gyroscope say, in the units of the simulation.

    Attributes:
        position: In m, in the world's frame: x and y horizontal, z up.
        velocity: In m/s, in the world's frame.
        quaternion: (w, x, y, z), turns the body's frame (x forward, y left, z up) into the world's.
        angular_rate: In rad/s, in the body's frame.
    """

    position: Triple
    velocity: Triple
    quaternion: tuple[float, float, float, float]
    angular_rate: Triple


_ABSOLUTE = (SetpointMode.ABSOLUTE,) * 3 + (SetpointMode.DISABLED,) * 2


@dataclass(frozen=True)
class Setpoint:
    """What the firmware's commander asks for.

    Attributes:
        position: In m, in the world's frame.
        velocity: In m/s.
        heading: In rad.
        modes: Of x, y, z, roll, pitch, yaw and the quaternion.
        quaternion: (w, x, y, z), has the heading where its mode is absolute and that of yaw is not.
        is_velocity_of_body: Whether the velocity is in the body's frame.
        thrust: For setpoints without a mode of z.
        timestamp: When it came, in ms; None for this moment.
    """

    position: Triple = (0.0, 0.0, 0.0)
    velocity: Triple = (0.0, 0.0, 0.0)
    heading: float = 0.0
    modes: tuple[SetpointMode, ...] = (*_ABSOLUTE, SetpointMode.ABSOLUTE, SetpointMode.DISABLED)
    quaternion: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    is_velocity_of_body: bool = False
    thrust: float = 0.0
    timestamp: int | None = None


class _Input(ctypes.Structure):
    """`host_input` of `host.c`, in the firmware's units."""

    _fields_ = (
        ("position", ctypes.c_float * 3),
        ("velocity", ctypes.c_float * 3),
        ("quaternion", ctypes.c_float * 4),
        ("gyro", ctypes.c_float * 3),
        ("setpoint_position", ctypes.c_float * 3),
        ("setpoint_velocity", ctypes.c_float * 3),
        ("setpoint_yaw", ctypes.c_float),
        ("setpoint_quaternion", ctypes.c_float * 4),
        ("setpoint_thrust", ctypes.c_float),
        ("modes", ctypes.c_int32 * 7),
        ("is_velocity_of_body", ctypes.c_int32),
        ("timestamp", ctypes.c_uint32),
    )


class CompiledController:
    """`hyperrl_controller.c`, compiled and loaded into this process.

    It runs the code in the folder: only use one that you trust. The motors are the policy's alone: where the
    firmware's PID controller would fly, they stand still.

    Args:
        folder: An artefact of the format crazyflie.
        prefix: What the names of the policy's files begin with.
        defines: Macros for the compiler, for example ``{"THRUST_MAX": "0.15f"}``.

    Raises:
        ArtefactError: The folder lacks a file.
        MissingExtraError: There is no compiler.
        ExportError: The code does not compile.
    """

    def __init__(
        self, folder: str | Path, prefix: str = "policy", defines: dict[str, str] | None = None
    ) -> None:
        folder = Path(folder)
        sources = [folder / name for name in (f"{prefix}.c", f"{prefix}_self_test.c", "hyperrl_controller.c")]
        for path in [*sources, folder / f"{prefix}.h", folder / "hyperrl_controller.h"]:
            if not path.is_file():
                raise ArtefactError(f"{folder} holds no controller of the Crazyflie: there is no {path.name}")
        macros = [f"-D{name}={value}" for name, value in (defines or {}).items()]
        # The library stays loaded when its file is gone.
        with (
            tempfile.TemporaryDirectory(prefix="hyperrl-") as place,
            as_file(files("hyperrl.exporters.crazyflie").joinpath("stand_ins")) as stand_ins,
        ):
            target = Path(place, "controller.so")
            includes = [f"-I{folder}", f"-I{stand_ins}"]
            compile_c([*sources, stand_ins / "host.c"], target, *_FLAGS, *includes, *macros)
            try:
                self._library = load_library(target)
            except OSError as error:
                raise ExportError(f"the compiled controller cannot be loaded: {error}") from error
        self._library.host_observe.argtypes = [ctypes.POINTER(_Input), _FLOATS]
        self._library.host_step.argtypes = [
            ctypes.POINTER(_Input),
            ctypes.c_uint32,
            ctypes.c_uint32,
            _FLOATS,
        ]
        self._library.host_pid_calls.restype = ctypes.c_uint32
        self._library.host_pid_resets.restype = ctypes.c_uint32
        self.start()

    def start(self) -> None:
        """Begin anew, as after the robot was switched on; a self-test that was done stays done."""
        self._library.host_start()

    def self_test(self) -> bool:
        """Run `controllerOutOfTreeTest`; without it the policy never acts."""
        return bool(self._library.host_test())

    def enable(self, on: bool) -> None:
        """Set the parameter `hyperrl.enable`.

        Args:
            on: Whether the policy may fly.
        """
        self._library.host_enable(int(on))

    def observe(self, state: VehicleState, setpoint: Setpoint) -> NDArray[np.float32]:
        """Return what the policy would be shown, shape [18].

        Args:
            state: The vehicle.
            setpoint: Where it shall be.
        """
        observation = np.empty(OBSERVATIONS, np.float32)
        given = _input(state, setpoint, 0)
        self._library.host_observe(ctypes.byref(given), observation.ctypes.data_as(_FLOATS))
        return observation

    def step(
        self, state: VehicleState, setpoint: Setpoint, step: int, milliseconds: int | None = None
    ) -> NDArray[np.float32]:
        """Make one call of the stabiliser's loop.

        Args:
            state: The vehicle.
            setpoint: Where it shall be.
            step: The stabiliser's step.
            milliseconds: The firmware's clock; None for one millisecond a step.

        Returns:
            Shares of full thrust of M1 to M4, shape [4]; zeros where the PID controller flies.
        """
        now = step if milliseconds is None else milliseconds
        shares = np.empty(MOTORS, np.float32)
        given = _input(state, setpoint, now)
        self._library.host_step(ctypes.byref(given), step, now, shares.ctypes.data_as(_FLOATS))
        return shares

    @property
    def mode(self) -> Mode:
        """Who controls."""
        return Mode(self._library.host_mode())

    @property
    def reason(self) -> Reason:
        """Why it is not the policy."""
        return Reason(self._library.host_reason())

    @property
    def pid_calls(self) -> int:
        """How often the PID controller was called since `start`."""
        return int(self._library.host_pid_calls())

    @property
    def pid_resets(self) -> int:
        """How often the PID controller was made to forget since `start`."""
        return int(self._library.host_pid_resets())


def _input(state: VehicleState, setpoint: Setpoint, now: int) -> _Input:
    """Convert to the firmware's units: degrees, and w last in quaternions."""
    stamp = now if setpoint.timestamp is None else setpoint.timestamp
    return _Input(
        state.position,
        state.velocity,
        _w_last(state.quaternion),
        tuple(math.degrees(rate) for rate in state.angular_rate),
        setpoint.position,
        setpoint.velocity,
        math.degrees(setpoint.heading),
        _w_last(setpoint.quaternion),
        setpoint.thrust,
        setpoint.modes,
        int(setpoint.is_velocity_of_body),
        stamp % 2**32,
    )


def _w_last(quaternion: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    w, x, y, z = quaternion
    return x, y, z, w
