"""Timing variants against each other in one process, so that a busy or drifting machine hurts all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.ranges import whole

CLOCKS = ("cpu", "wall")


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of several rounds.

    Attributes:
        median: The median.
        low: The smallest.
        high: The largest.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarise at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Timings:
    """Seconds per call of each variant in each round.

    Attributes:
        cpu: CPU seconds of this process, by variant.
        wall: Seconds by the clock on the wall, by variant.
    """

    cpu: Mapping[str, list[float]]
    wall: Mapping[str, list[float]]

    def seconds(self, variant: str, clock: str) -> Spread:
        """Seconds per call of a variant by the clock "cpu" or "wall"."""
        return Spread.of(self._rounds(clock)[variant])

    def ratio(self, variant: str, baseline: str, clock: str) -> Spread:
        """Time of a variant over that of the baseline, compared within each round."""
        rounds = self._rounds(clock)
        pairs = zip(rounds[variant], rounds[baseline], strict=True)
        # A clock that has not moved for the baseline gives no ratio; one tick is the least it can be.
        tick = time.get_clock_info("process_time" if clock == "cpu" else "perf_counter").resolution
        return Spread.of([one / max(other, tick) for one, other in pairs])

    def _rounds(self, clock: str) -> Mapping[str, list[float]]:
        return self.cpu if clock == "cpu" else self.wall


def interleave(
    variants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    calls: int | Mapping[str, int],
    warm_up: int = 1,
    device: str = "cpu",
) -> Timings:
    """Time variants round-robin: in each round a block of calls of every variant, in rotating order.

    Args:
        variants: Functions without arguments, by name.
        rounds: Number of rounds.
        calls: Timed calls of a block, for all variants or by name.
        warm_up: Calls before each block that are not timed: they bring a variant's data back to the caches.
        device: "cuda" waits for the GPU before each reading of a clock.
    """
    names = list(variants)
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        start = index % len(names)
        for name in names[start:] + names[:start]:
            function = variants[name]
            count = calls if isinstance(calls, int) else calls[name]
            for _ in range(warm_up):
                function()
            synchronise(device)
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            for _ in range(count):
                function()
            synchronise(device)
            cpu[name].append((time.process_time() - cpu_start) / count)
            wall[name].append((time.perf_counter() - wall_start) / count)
    return Timings(cpu, wall)


def calls_for(function: Callable[[], object], seconds: float, device: str = "cpu") -> int:
    """Number of calls that take about so many seconds, at least one.

    Args:
        function: What is to be called.
        seconds: Length of a block.
        device: As in `interleave`.
    """
    function()
    synchronise(device)
    start = time.perf_counter()
    function()
    synchronise(device)
    return max(1, int(seconds / max(time.perf_counter() - start, 1e-7)))


def synchronise(device: str) -> None:
    """Wait until the device has done all that was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()


def deciding_clock(device: str) -> str:
    """The clock that results are judged by: CPU time is robust on a busy machine, a GPU has none."""
    return "wall" if device == "cuda" else "cpu"


def prepare(device: str, threads: int) -> None:
    """Set the number of torch's threads and refuse a device that is not there.

    Args:
        device: "cpu" or "cuda".
        threads: Threads of torch on the CPU.

    Raises:
        UnknownNameError: The device is neither.
        ConfigError: There is no GPU, or the number of threads is out of range.
    """
    if device not in ("cpu", "cuda"):
        raise unknown_name("device", device, ("cpu", "cuda"))
    count = int(whole(1, 1024).check("threads", threads))
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no GPU here: use 'cpu'")
    torch.set_num_threads(count)
