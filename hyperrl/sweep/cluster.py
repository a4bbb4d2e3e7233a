"""Doing the runs of a sweep on a Ray cluster: every run is a task with one CPU, in a process of its own.

Ray places the tasks and brings a run back on another machine when its own is lost. All machines see the
sweep's folder, through which everything else goes: checkpoints, logs, how far a run is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperrl.config import RunConfig
from hyperrl.errors import ClusterError, ConfigError, RunFolderError
from hyperrl.run.manifest import package_versions
from hyperrl.sweep.engine import WORKERS, Ended
from hyperrl.sweep.process import RunProcess
from hyperrl.sweep.reach import reach
from hyperrl.sweep.records import log_beside

_LOOK_SECONDS = 0.5
_ANSWER_SECONDS = 60.0
# How often Ray may start a run again whose machine was lost; it continues from its last checkpoint.
_LOST_MACHINES = 3
_NODES_SECONDS = 5.0
SWITCH_FILE = ".switch"


def supervise(settings: str, switch: str, token: str) -> int | None:
    """Do a run in a process of this machine; this is what Ray calls there.

    It never waits for Ray, which would lend its CPU to another task meanwhile.

    Args:
        settings: The run's configuration, in TOML.
        switch: A file that holds the token as long as the sweep goes on.
        token: The token.

    Returns:
        The exit status of the process; None if it was not started, because the sweep is being stopped.
    """
    if _read(switch) != token:
        return None
    process = RunProcess(RunConfig.from_toml(settings, "the run's configuration"))
    try:
        stopping = False
        while (status := process.poll()) is None:
            if not stopping and _read(switch) != token:
                stopping = True
                process.stop()
            time.sleep(_LOOK_SECONDS)
        return status
    finally:
        process.kill()


def look_at(switch: str) -> tuple[str, dict[str, str | None]]:
    """Return what a machine of the cluster sees.

    Args:
        switch: The file of the sweep.

    Returns:
        The file's text, "" if it is not there, and the versions of the packages.
    """
    return _read(switch), package_versions()


class RayEngine:
    """Does runs on a cluster, to which this process connects.

    Args:
        address: "HOST:PORT" of the cluster; None for `$RAY_ADDRESS`, or else for the cluster that this
            machine belongs to.
        workers: How many runs side by side; None for as many as the cluster has CPUs.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: The address or the number is wrong.
        ClusterError: There is no such cluster, or it cannot be used from here.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._workers = None if workers is None else int(WORKERS.check("workers", workers))
        self._address = reach(address or os.environ.get("RAY_ADDRESS") or "auto")
        import ray

        self._ray: Any = ray
        ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR)
        self._token = secrets.token_hex(16)
        self._switch: Path | None = None
        self._tasks: dict[Any, _Task] = {}
        self._refused: list[Ended] = []
        self._stopping = False
        self._room, self._next_count = 0, 0.0
        try:
            if not self._count() and workers is None:
                raise ClusterError(
                    f"the Ray cluster {self._address} has no CPUs: give the number of --workers"
                )
        except BaseException:
            ray.shutdown()
            raise

    def check_folder(self, path: Path) -> None:
        """Refuse a folder that not every machine of the cluster sees, see `Engine`."""
        # The file stays until the end, and is what stops the runs: a file that is opened anew is up to date
        # on network file systems, too, where one that appears or vanishes may be noticed a minute later.
        self._switch = path / SWITCH_FILE
        try:
            self._switch.write_text(self._token, encoding="utf-8")
        except OSError as error:
            raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from error
        self._ask_all(path)

    def has_room(self) -> bool:
        """Return whether another run may be started now."""
        return len(self._tasks) < (self._workers or self._count())

    def start(self, name: str, config: RunConfig) -> None:
        """Start a run, see `Engine`."""
        gpus = 1 if config.device == "cuda" else 0
        if gpus and not self._ray.cluster_resources().get("GPU"):
            self._refused.append(Ended(name, None, f"the Ray cluster {self._address} has no GPU"))
            return
        task = self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_LOST_MACHINES)(supervise)
        reference = task.options(name=name).remote(config.to_toml(), str(self._switch), self._token)
        self._tasks[reference] = _Task(name, log_beside(Path(str(config.out))))

    def ended(self) -> list[Ended]:
        """Return the runs that have ended since the last call."""
        if self._stopping and not any(task.log.exists() for task in self._tasks.values()):
            # What has not begun will not any more, but could have to wait for a CPU to say so.
            for reference in self._tasks:
                self._ray.cancel(reference)
        refused, self._refused = self._refused, []
        if not self._tasks:
            return refused
        ready, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return refused + [self._result(reference, self._tasks.pop(reference).name) for reference in ready]

    def running(self) -> int:
        """Return how many runs have been started and not been reported as ended."""
        return len(self._tasks) + len(self._refused)

    def stop(self) -> None:
        """Ask all runs to save a checkpoint and to end."""
        self._stopping = True
        # A disk that is full now must not keep the runs from being stopped.
        with contextlib.suppress(OSError):
            if self._switch is not None:
                self._switch.write_text("", encoding="utf-8")

    def close(self) -> None:
        """Leave the cluster, which ends at once all that still works."""
        self._ray.shutdown()
        with contextlib.suppress(OSError):
            if self._switch is not None:
                self._switch.unlink(missing_ok=True)

    def _result(self, reference: Any, name: str) -> Ended:
        try:
            return Ended(name, self._ray.get(reference))
        except self._ray.exceptions.TaskCancelledError:
            return Ended(name, None)
        except self._ray.exceptions.RayError as error:
            return Ended(name, None, f"Ray lost it: {_first_line(error)}")

    def _count(self) -> int:
        """Return how many CPUs the cluster has now; machines may come and go."""
        if time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + _NODES_SECONDS
            self._room = int(self._ray.cluster_resources().get("CPU", 0))
        return self._room

    def _on(self, node: str) -> dict[str, Any]:
        """Return the options that place a task or an actor on one machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}

    def _ask_all(self, path: Path) -> None:
        task = self._ray.remote(num_cpus=0, max_retries=0)(look_at)
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        asked = [(node, task.options(**self._on(node["NodeID"])).remote(str(self._switch))) for node in nodes]
        for node, reference in asked:
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            try:
                text, versions = self._ray.get(reference, timeout=_ANSWER_SECONDS)
            except self._ray.exceptions.RayError as error:
                raise ClusterError(
                    f"the machine {name} of the cluster cannot do runs: {_first_line(error)}"
                ) from error
            if text != self._token:
                raise ConfigError(
                    f"the machine {name} of the cluster does not see {path}: choose a folder on a "
                    "file system that all machines share, with --out"
                )
            if versions != package_versions():
                warnings.warn(
                    f"the machine {name} of the cluster has other versions of packages than this one: what "
                    "is continued there is not continued bit for bit",
                    stacklevel=3,
                )


@dataclass(frozen=True)
class _Task:
    """A run that Ray has, or that waits for a CPU of it.

    Attributes:
        name: The run's name.
        log: A file that is there as long as the run's process works.
    """

    name: str
    log: Path


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The error that happened over there is in the last line of its traceback.
    return lines[-1] if lines else type(error).__name__
