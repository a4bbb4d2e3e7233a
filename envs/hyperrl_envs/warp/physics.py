"""Many worlds of one MuJoCo model on a device, stepped by a captured graph."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from hyperrl.errors import UnsupportedEnvError
from hyperrl_envs.warp.buffers import Room
from hyperrl_envs.warp.extra import load_libraries

# What a step starts from beside the controls.
_STATE = ("qpos", "qvel", "qacc_warmstart")


class Physics:
    """Worlds of one model.

    All arrays stay where they are from the beginning: the graphs know their places. On a GPU everything
    happens on one stream, which `stream` makes torch's own for a while.

    Args:
        model: The `mujoco.MjModel`.
        n_worlds: How many.
        device: A processor or a GPU.
        room: Sizes of the buffers.
        frame_skip: Simulation steps of one call of `step`.
        reads: Names of the arrays to be shown in `views`; forces between bodies (`cfrc_ext`) are computed
            only where they are among them.
        captured: Whether steps are captured once and replayed, rather than launched kernel by kernel.

    Attributes:
        data: The `mujoco_warp.Data`.
        views: Its arrays by name, with a row for each world: torch tensors on the same memory.
        state: Names of those that a step starts from beside the controls.

    Raises:
        MissingExtraError: MuJoCo Warp is not installed.
        UnsupportedEnvError: The model has something that MuJoCo Warp cannot simulate.
    """

    def __init__(
        self,
        model: Any,
        n_worlds: int,
        device: torch.device,
        *,
        room: Room,
        frame_skip: int,
        reads: Sequence[str],
        captured: bool = True,
    ) -> None:
        self._warp, self._simulator = load_libraries()
        self._room, self._frame_skip = room, frame_skip
        self._has_forces = "cfrc_ext" in reads
        self._device = self._warp.get_device(str(device))
        # One of warp's own streams, not of torch's: only those wait for memory that warp takes back.
        self._stream = self._warp.Stream(self._device) if device.type == "cuda" else None
        self._torch_stream = None if self._stream is None else self._warp.stream_to_torch(self._stream)
        self._warned = False
        with self._on_device():
            self._build(model, n_worlds)
            self.state = (*_STATE, "act") if model.na else _STATE
            names = dict.fromkeys((*self.state, "ctrl", *reads))
            self.views: dict[str, Tensor] = {
                name: self._warp.to_torch(getattr(self.data, name)) for name in names
            }
            self._overflows: Tensor = self._warp.to_torch(self.data.overflow)
            # Where the host finds, some steps later, whether anything was left out.
            self._seen = torch.zeros((), dtype=self._overflows.dtype, pin_memory=self._stream is not None)
            self.step: Callable[[], None] = self._prepared(self._step, captured)
            self.settle: Callable[[], None] = self._prepared(self._settle, captured)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Let torch work on the stream of the simulation, in order with what comes before and after."""
        if self._torch_stream is None:
            yield
            return
        caller = torch.cuda.current_stream(self._torch_stream.device)
        self._torch_stream.wait_stream(caller)
        try:
            with torch.cuda.stream(self._torch_stream):
                yield
        finally:
            caller.wait_stream(self._torch_stream)

    def note_overflow(self) -> None:
        """Warn once if contacts or constraints were left out earlier; never waits for the device."""
        if self._warned:
            return
        if int(self._seen):
            self._warned = True
            raised = Room(2 * self._room.contacts, 2 * self._room.rows)
            warnings.warn(
                f"a world had more contacts than nconmax = {self._room.contacts} (on average over all "
                f"worlds) or more rows of constraints than njmax = {self._room.rows}, and some were left "
                f"out: build it with more, for example nconmax={raised.contacts}, njmax={raised.rows}",
                RuntimeWarning,
                stacklevel=4,
            )
            return
        self._seen.copy_((self._overflows & self._faults).amax(), non_blocking=True)

    def _build(self, model: Any, n_worlds: int) -> None:
        try:
            self._model = self._simulator.put_model(model)
        except NotImplementedError as error:
            raise UnsupportedEnvError(f"MuJoCo Warp cannot simulate the model: {error}") from error
        kinds = self._simulator.OverflowType
        # Not among them: solvers that stop at their limit of iterations, as MuJoCo's do.
        faults = kinds.NEFC | kinds.NJMAX_NNZ | kinds.BROADPHASE | kinds.NARROWPHASE | kinds.CCD
        self._faults = int(faults | kinds.HFIELD | kinds.EPA_HORIZON)
        # It would print a line for every world and step; `note_overflow` says it once.
        self._model.opt.warn_overflow = kinds.NONE
        kernels = importlib.import_module("hyperrl_envs.warp.kernels")
        if kernels.needs_aligned_contacts(model):
            self._model.callback.contactfilter = kernels.align_contacts
        self.data = self._simulator.make_data(
            model, nworld=n_worlds, nconmax=self._room.contacts, njmax=self._room.rows
        )

    def _prepared(self, work: Callable[[], None], captured: bool) -> Callable[[], None]:
        """Return what does the work on the simulation's device and stream."""
        if not captured:

            def launch() -> None:
                with self._on_device():
                    work()

            return launch
        # Kernels are compiled before they are captured.
        work()
        with self._warp.ScopedCapture(device=self._device, stream=self._stream) as capture:
            work()
        graph = capture.graph

        def replay() -> None:
            self._warp.capture_launch(graph, stream=self._stream)

        return replay

    def _step(self) -> None:
        for _ in range(self._frame_skip):
            self._simulator.step(self._model, self.data)
        if self._has_forces:
            # As Gymnasium does: forces between bodies are computed only when asked for.
            self._simulator.rne_postconstraint(self._model, self.data)

    def _settle(self) -> None:
        self._simulator.forward(self._model, self.data)

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        stream = nullcontext() if self._stream is None else self._warp.ScopedStream(self._stream)
        with self._warp.ScopedDevice(self._device), stream:
            yield
