"""The fork server that workers come from, which no signal to the whole run ends.

It starts, like all workers, with the signals held back that are left to the parent (`guards.signals_held`),
and what it forks inherits that. `multiprocessing` has one server for everybody; were it this one, processes
that others start from it could not be ended by `Process.terminate`, and the exit of Python would wait for
them for ever. So this one is for workers alone.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from multiprocessing import forkserver, popen_forkserver, reduction, spawn, util
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess, set_spawning_popen
from multiprocessing.process import BaseProcess
from typing import Any

_SERVER = forkserver.ForkServer()


def worker_context(start_method: str) -> BaseContext:
    """Return the context of `multiprocessing` that workers are started in.

    Args:
        start_method: "forkserver", "spawn" or "fork".
    """
    if start_method == "forkserver":
        return _WorkerContext()
    return multiprocessing.get_context(start_method)


class _Popen(popen_forkserver.Popen):
    """A process from the server of this module."""

    def _launch(self, process_obj: BaseProcess) -> None:
        # As in CPython, where the server cannot be chosen.
        data = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(spawn.get_preparation_data(process_obj.name), data)
            reduction.dump(process_obj, data)
        finally:
            set_spawning_popen(None)
        # The modules to load first are those that were named for the server of everybody.
        _SERVER.set_forkserver_preload(list(getattr(_server_of_everybody(), "_preload_modules", ())))
        self.sentinel, write_end = _SERVER.connect_to_new_process(self._fds)  # type: ignore[attr-defined]
        # The process sees by its end of this pipe that its parent has ended.
        kept = os.dup(write_end)
        self.finalizer = util.Finalize(self, _close_both, (kept, self.sentinel))
        with open(write_end, "wb") as file:
            file.write(data.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - its name in multiprocessing.
        return _Popen(process_obj)


class _WorkerContext(ForkServerContext):
    Process = _Process


def _close_both(one: int, other: int) -> None:
    os.close(one)
    os.close(other)


def _server_of_everybody() -> Any:
    return getattr(forkserver, "_forkserver", None)
