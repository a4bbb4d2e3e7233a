"""What a checkpoint costs when the replay buffer is large: the first one, and those that come after it.

HyperTD3's are whole and on the disk when the time is taken. Beside them stands what Stable-Baselines3 has for
the same purpose, `save` and `save_replay_buffer`, with the same buffer; these wait for no disk.

Times are those for which training stands still on a machine of its own: Linux says how long a thread has
waited for a processor that others used, and that is left out. `wall_ms` is with it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from hyperrl.bench.report import provenance
from hyperrl.bench.timing import Spread
from hyperrl.bench.update import fill
from hyperrl.environments import make_env
from hyperrl.errors import RunFolderError
from hyperrl.registry import agents
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.files import Files
from hyperrl.run.store import CheckpointStore, Segment

ENV = "HalfCheetah-v5"
NEW = (0, 1_000, 10_000)
"""Transitions that came since the last checkpoint."""
LIMIT_MS = 100.0
"""What a checkpoint may cost besides writing the new transitions."""

FIRST, LATER, SB3 = "first", "later", "sb3 save + save_replay_buffer"

_ROUNDS = 5
_SCHEDULER = Path("/proc/thread-self/schedstat")
_NET_ARCH = (256, 256)
_BATCH = 256


@dataclass
class Meter:
    """What a save did.

    Attributes:
        written: Bytes written.
        syncing: Seconds spent waiting for the disk.
        appending: Seconds spent on the new rows of the replay buffer, with their own waiting for the disk.
    """

    written: int = 0
    syncing: float = 0.0
    appending: float = 0.0


def own_time() -> float:
    """Return the seconds since some moment, without those in which this thread waited for a processor."""
    while True:
        waited, now = _waited(), time.perf_counter()
        # Between the two readings another process may have had its turn.
        if _waited() == waited:
            return now - 1e-9 * waited


def _waited() -> int:
    """Return the nanoseconds that this thread was ready to run and did not; 0 where the system is silent."""
    try:
        return int(_SCHEDULER.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


class MeteredFiles(Files):
    """Real writes that are counted.

    Args:
        meter: Where to count.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Count the bytes."""
        self._meter.written += memoryview(data).nbytes
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Take the time."""
        start = own_time()
        super().sync(descriptor)
        self._meter.syncing += own_time() - start

    def sync_folder(self, path: Path) -> None:
        """Take the time."""
        start = own_time()
        super().sync_folder(path)
        self._meter.syncing += own_time() - start


class MeteredStore(CheckpointStore):
    """A store whose writes are counted.

    Args:
        folder: Its folder.
        meter: Where to count.
    """

    def __init__(self, folder: Path, meter: Meter) -> None:
        super().__init__(folder, files=MeteredFiles(meter))
        self._meter = meter

    def append_segment(self, arrays: Mapping[str, NDArray[Any]]) -> Segment:
        """Take the time."""
        start = own_time()
        segment = super().append_segment(arrays)
        self._meter.appending += own_time() - start
        return segment


@dataclass(frozen=True)
class Save:
    """One save.

    Attributes:
        seconds: What it took, see `own_time`.
        wall_seconds: The same by the clock on the wall.
        cpu_seconds: CPU time.
        meter: What it did.
    """

    seconds: float
    wall_seconds: float
    cpu_seconds: float
    meter: Meter

    @classmethod
    def timed(cls, save: Callable[[], object], meter: Meter) -> Save:
        """Call a function that saves, and whose meter is `meter`."""
        start, wall, cpu = own_time(), time.perf_counter(), time.process_time()
        save()
        taken = own_time() - start, time.perf_counter() - wall, time.process_time() - cpu
        return cls(*taken, replace(meter))


def measure(transitions: int, folder: Path, *, rounds: int = _ROUNDS, seed: int = 0) -> list[dict[str, Any]]:
    """Save an agent with a full replay buffer again and again.

    Args:
        transitions: Size of the buffer.
        folder: Where temporary files go: what is measured is this disk.
        rounds: Saves of each kind; the first one comes once.
        seed: Seed of networks and data.

    Returns:
        A row for the first checkpoint, for those after `NEW` transitions, and for Stable-Baselines3. Times
        are medians in milliseconds; ``new_rows_ms`` is the part of the new transitions. ``met`` says whether
        the rest is within the limit, and is None where there is none.

    Raises:
        RunFolderError: The disk refused a checkpoint.
    """
    agent = _agent(transitions, seed)
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".checkpoint-") as name:
        place, meter = Path(name), Meter()
        save = _saver(agent, MeteredStore(place / "ckpt", meter), meter)
        rows = [_row(FIRST, transitions, [save()], seed)]
        for new in NEW:
            saves = []
            for _ in range(rounds):
                add_rows(agent, new, generator)
                saves.append(save())
            rows.append(_row(LATER, new, saves, seed))
        theirs = [_save_as_sb3(agent, place, seed) for _ in range(rounds)]
        rows.append(_row(SB3, transitions, theirs, seed))
    return rows


def add_rows(agent: OffPolicyAlgorithm, count: int, generator: np.random.Generator) -> None:
    """Do to a replay buffer what so many steps of an agent with one environment do.

    Args:
        agent: The agent.
        count: How many.
        generator: Where the transitions come from.
    """
    buffer = agent.replay_buffer
    assert isinstance(buffer, ReplayBuffer)
    places = (buffer.pos + np.arange(count)) % buffer.buffer_size
    for array in (buffer.observations, buffer.next_observations, buffer.rewards):
        array[places] = generator.standard_normal((count, *array.shape[1:]))
    buffer.actions[places] = generator.uniform(-1, 1, (count, *buffer.actions.shape[1:]))
    buffer.full = buffer.full or buffer.pos + count >= buffer.buffer_size
    buffer.pos = (buffer.pos + count) % buffer.buffer_size
    agent.num_timesteps += count


def _agent(transitions: int, seed: int) -> OffPolicyAlgorithm:
    """Build HyperTD3 with a full buffer, optimisers that have learned and an episode under way."""
    agent: OffPolicyAlgorithm = agents.get("hyper-td3")(
        "MlpPolicy",
        make_env(ENV),
        buffer_size=transitions,
        policy_kwargs={"net_arch": list(_NET_ARCH), "critic": "fast"},
        seed=seed,
        device="cpu",
    )
    assert isinstance(agent.replay_buffer, ReplayBuffer)
    agent.set_logger(Logger(None, []))
    agent._setup_learn(transitions)
    fill(agent.replay_buffer, seed)
    agent.num_timesteps = transitions
    agent.train(gradient_steps=2, batch_size=_BATCH)
    return agent


def _saver(agent: OffPolicyAlgorithm, store: CheckpointStore, meter: Meter) -> Callable[[], Save]:
    checkpoints = Checkpoints(agent, store, {"agent": "hyper-td3", "env": ENV})

    def save_once() -> Save:
        meter.written, meter.syncing, meter.appending = 0, 0.0, 0.0
        save = Save.timed(lambda: checkpoints.save({}), meter)
        if checkpoints.problem is not None:
            raise RunFolderError(f"a checkpoint could not be written: {checkpoints.problem}")
        return save

    return save_once


def _save_as_sb3(agent: OffPolicyAlgorithm, folder: Path, seed: int) -> Save:
    """Save a TD3 of Stable-Baselines3 that has the same replay buffer."""
    theirs = TD3(
        "MlpPolicy",
        make_env(ENV),
        buffer_size=1,
        policy_kwargs={"net_arch": list(_NET_ARCH)},
        seed=seed,
        device="cpu",
    )
    theirs.set_logger(Logger(None, []))
    theirs.replay_buffer = agent.replay_buffer
    theirs.train(gradient_steps=2, batch_size=_BATCH)
    paths = folder / "model.zip", folder / "replay.pkl"

    def save() -> None:
        theirs.save(paths[0])
        theirs.save_replay_buffer(paths[1])

    timed = Save.timed(save, Meter())
    return replace(timed, meter=Meter(sum(path.stat().st_size for path in paths)))


def _row(kind: str, new: int, saves: list[Save], seed: int) -> dict[str, Any]:
    taken = Spread.of([1e3 * save.seconds for save in saves])
    row: dict[str, Any] = {
        "checkpoint": kind,
        "new_transitions": new,
        "rounds": len(saves),
        "ms": taken.median,
        "ms_min": taken.low,
        "ms_max": taken.high,
        "wall_ms": 1e3 * median(save.wall_seconds for save in saves),
        "cpu_ms": 1e3 * median(save.cpu_seconds for save in saves),
        "megabytes_written": 1e-6 * median(save.meter.written for save in saves),
        "disk_wait_ms": None,
        "new_rows_ms": None,
        "other_ms": None,
        "limit_of_other_ms": None,
        "met": None,
    }
    if kind != SB3:
        other = 1e3 * median(save.seconds - save.meter.appending for save in saves)
        row |= {
            "disk_wait_ms": 1e3 * median(save.meter.syncing for save in saves),
            "new_rows_ms": 1e3 * median(save.meter.appending for save in saves),
            "other_ms": other,
        }
        if kind == LATER:
            row |= {"limit_of_other_ms": LIMIT_MS, "met": other < LIMIT_MS}
    return row | provenance(seed, "cpu")
