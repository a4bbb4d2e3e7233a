"""What only whole processes show: how long they take to start, and whether two hinder each other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from hyperrl.bench.report import provenance, record, show, write_table

# Both print what was measured as their last line.
_START = """
import time
start = time.perf_counter()
import warnings
warnings.simplefilter("ignore")
from hyperrl.bench.update import SpacesOnly, fill
import torch
torch.set_num_threads(1)
from hyperrl import HyperTD3
from stable_baselines3.common.logger import Logger
model = HyperTD3("MlpPolicy", SpacesOnly(), buffer_size=1000, device="cpu", compile={compiled})
fill(model.replay_buffer, 0)
model.set_logger(Logger(None, []))
model.train(2, 256)
print(time.perf_counter() - start)
"""
_SEED = """
import sys, time, warnings
warnings.simplefilter("ignore")
from hyperrl.bench.update import SpacesOnly, fill
{threads}
from hyperrl import HyperTD3
from stable_baselines3.common.logger import Logger
model = HyperTD3("MlpPolicy", SpacesOnly(), buffer_size=1000, device="cpu", compile=False)
fill(model.replay_buffer, 0)
model.set_logger(Logger(None, []))
model.train(20, 256)
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
model.train({updates}, 256)
print({updates} / (time.perf_counter() - start))
"""
_PINNED = "import torch; torch.set_num_threads(1)"

_START_LIMITS = {"eager": 4.0, "compiled, cached": 8.0}
_PARALLEL_FLOOR = 1.5


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure everything, show it and write `startup.csv` and `seeds.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        seed: Noted in the tables.
        quick: Fewer updates, to see that everything works; nothing is judged then.

    Returns:
        Whether no limit was missed.

    Raises:
        RunFolderError: A file cannot be written.
    """
    tables = {"startup": startup(rounds, seed), "seeds": seeds(rounds, seed, 20 if quick else 300)}
    for name, rows in tables.items():
        show(name, rows, [column for column in rows[0] if column not in _PROVENANCE])
        write_table(folder / f"{name}.csv", rows)
        record(
            folder,
            {f"{name}.csv": {"seed": seed, "device": "cpu", "rounds": rounds, "quick": quick}},
        )
        print(folder / f"{name}.csv")
    return quick or all(row["met"] is not False for rows in tables.values() for row in rows)


def startup(rounds: int, seed: int = 0) -> list[dict[str, Any]]:
    """Measure the time from the interpreter's start of work to the second update.

    Args:
        rounds: Processes of each kind; the first compiled one fills the cache and is not counted.
        seed: Noted in the rows.

    Returns:
        One row each for eager and compiled updates, in seconds of the clock on the wall.
    """
    _measure_start(compiled=True)
    times: dict[str, list[float]] = {"eager": [], "compiled, cached": []}
    for _ in range(rounds):
        times["eager"].append(_measure_start(compiled=False))
        times["compiled, cached"].append(_measure_start(compiled=True))
    return [
        {
            "updates": name,
            "seconds": median(values),
            "seconds_min": min(values),
            "seconds_max": max(values),
            "limit": _START_LIMITS[name],
            "met": median(values) <= _START_LIMITS[name],
        }
        | provenance(seed, "cpu")
        for name, values in times.items()
    ]


def seeds(rounds: int, seed: int = 0, updates: int = 300) -> list[dict[str, Any]]:
    """Measure updates per second of one process and of two at a time, with one thread and with torch's own.

    Args:
        rounds: Measurements of each kind, interleaved.
        seed: Noted in the rows.
        updates: Updates of each process.

    Returns:
        One row for each kind, relative to one process with one thread.
    """
    kinds: Mapping[str, tuple[int, str]] = {
        "one process, one thread": (1, _PINNED),
        "two processes, one thread each": (2, _PINNED),
        "one process, torch's threads": (1, ""),
        "two processes, torch's threads": (2, ""),
    }
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, (count, threads) in kinds.items():
            rates[name].append(_rate(count, _SEED.format(threads=threads, updates=updates)))
    baseline = rates["one process, one thread"]
    rows = []
    for name, values in rates.items():
        ratios = [value / base for value, base in zip(values, baseline, strict=True)]
        floor = _PARALLEL_FLOOR if name.startswith("two processes, one") else None
        row = {
            "processes": name,
            "updates_per_second": median(values),
            "times_one": median(ratios),
            "times_one_min": min(ratios),
            "times_one_max": max(ratios),
            "floor": floor,
            "met": None if floor is None else median(ratios) >= floor,
        }
        rows.append(row | provenance(seed, "cpu"))
    return rows


_PROVENANCE = tuple(provenance(0, "cpu"))


def _measure_start(compiled: bool) -> float:
    script = _START.format(compiled=compiled)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _rate(count: int, script: str) -> float:
    """Start processes, let them begin together, and add up their updates per second."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(count)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    time.sleep(0.2)
    total = 0.0
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        out, _ = child.communicate()
        total += float(out.split()[-1])
    return total
