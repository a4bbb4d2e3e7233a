"""How fast PPO learns end to end: Stable-Baselines3's, the compiled one, and that with native environments.

Each variant goes through `learn` in iterations of 2048 steps of 8 environments and 320 minibatches, in one
process and in turns. Where the package `sbx` is installed, its PPO takes part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import Timings, deciding_clock
from hyperrl.environments import make_vec_env
from hyperrl.registry import agents

ENV = "HalfCheetah-v5"
N_ENVS = 8
FLOORS = {("compiled, native environments", "sb3"): 3.0, ("compiled, native environments", "sbx"): 2.5}
"""The smallest ratio of whole iterations that we accept, by variant and what it is compared with."""

PARTS = ("rollout", "update", "total")
_SETTINGS: Mapping[str, Any] = {"n_steps": 256, "batch_size": 64, "n_epochs": 10}
_QUICK: Mapping[str, Any] = {"n_steps": 16, "batch_size": 32, "n_epochs": 1}

Builder = Callable[[Mapping[str, Any], int], BaseAlgorithm]


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure all variants, show the result and write `ppo.csv`.

    Args:
        folder: For the results.
        rounds: Timed iterations of each variant.
        seed: Seed of networks and environments.
        quick: As in `measure`; speed is not judged then.

    Returns:
        Whether no floor was missed.

    Raises:
        RunFolderError: A file cannot be written.
    """
    rows = measure(variants(), rounds=rounds, seed=seed, quick=quick)
    columns = ["variant", "part", "against", "steps_per_second", "wall_steps_per_second"]
    columns += ["speedup", "speedup_min", "speedup_max", "wall_speedup", "floor", "met"]
    show(f"PPO on {ENV} in {N_ENVS} environments, by the {rows[0]['clock']} clock", rows, columns)
    path = folder / "ppo.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": "cpu", "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return quick or not any(row["met"] is False for row in rows)


def variants() -> dict[str, Builder]:
    """Return what builds each variant from its settings and a seed; "sb3" is the first."""
    compiled = agents.get("compiled-ppo")
    found: dict[str, Builder] = {
        "sb3": _builder(PPO),
        "compiled": _builder(compiled, compile=True),
        "compiled, native environments": _builder(compiled, native=True, compile=True),
    }
    if find_spec("sbx") is not None:
        found["sbx"] = _builder(import_module("sbx").PPO)
    return found


def measure(
    builders: Mapping[str, Builder], *, rounds: int, seed: int = 0, quick: bool = False
) -> list[dict[str, Any]]:
    """Time iterations of all variants, interleaved.

    Args:
        builders: The variants by name, "sb3" among them.
        rounds: Timed iterations of each; one before them compiles.
        seed: Seed of networks and environments.
        quick: Iterations of 128 steps, to see that everything works.

    Returns:
        A row for each variant, each part of an iteration and each of "sb3" and "sbx" that it is compared
        with. ``speedup`` is the median over rounds of the other's time divided by this one's; ``met`` says
        whether it reaches the floor, and is None where there is none.
    """
    settings = _QUICK if quick else _SETTINGS
    learners = {name: _Learner(build(settings, seed)) for name, build in builders.items()}
    for learner in learners.values():
        learner.iterate()
        learner.clear()
    names = list(learners)
    for index in range(rounds):
        start = index % len(names)
        for name in names[start:] + names[:start]:
            learners[name].iterate()
    timings = {
        part: Timings(
            cpu={name: learner.cpu[part] for name, learner in learners.items()},
            wall={name: learner.wall[part] for name, learner in learners.items()},
        )
        for part in PARTS
    }
    steps = settings["n_steps"] * N_ENVS
    return [
        _row(timings[part], name, other, part, steps, rounds) | provenance(seed, "cpu")
        for other in ("sb3", "sbx")
        if other in names
        for name in names
        for part in PARTS
    ]


@dataclass
class _Learner:
    """An agent that learns one iteration at a time, and what its parts took in seconds."""

    agent: BaseAlgorithm
    cpu: dict[str, list[float]] = field(init=False)
    wall: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.agent.set_logger(Logger(None, []))
        self.clear()

    def clear(self) -> None:
        """Forget the times."""
        self.cpu = {part: [] for part in PARTS}
        self.wall = {part: [] for part in PARTS}

    def iterate(self) -> None:
        """Collect one rollout and learn from it."""
        watch = _Watch()
        before = _clocks()
        self.agent.learn(1, callback=watch, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
        after = _clocks()
        for index, times in enumerate((self.cpu, self.wall)):
            rollout = watch.end[index] - watch.start[index]
            total = after[index] - before[index]
            for part, seconds in zip(PARTS, (rollout, total - rollout, total), strict=True):
                times[part].append(seconds)


class _Watch(BaseCallback):
    """Reads the clocks at both ends of a rollout."""

    start = end = (0.0, 0.0)

    def _on_rollout_start(self) -> None:
        self.start = _clocks()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.end = _clocks()


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _row(timings: Timings, name: str, other: str, part: str, steps: int, rounds: int) -> dict[str, Any]:
    clock = deciding_clock("cpu")
    seconds, ratio = timings.seconds(name, clock), timings.ratio(other, name, clock)
    wall = timings.ratio(other, name, "wall")
    floor = FLOORS.get((name, other)) if part == "total" else None
    return {
        "variant": name,
        "part": part,
        "against": other,
        "env": ENV,
        "n_envs": N_ENVS,
        "rounds": rounds,
        "clock": clock,
        "steps_per_second": steps / seconds.median,
        "wall_steps_per_second": steps / timings.seconds(name, "wall").median,
        "speedup": ratio.median,
        "speedup_min": ratio.low,
        "speedup_max": ratio.high,
        "wall_speedup": wall.median,
        "wall_speedup_min": wall.low,
        "wall_speedup_max": wall.high,
        "floor": floor,
        "met": None if floor is None else ratio.median >= floor,
    }


def _builder(algorithm: Callable[..., BaseAlgorithm], *, native: bool = False, **kwargs: Any) -> Builder:
    def build(settings: Mapping[str, Any], seed: int) -> BaseAlgorithm:
        env = make_vec_env(ENV, {}, N_ENVS, seed, native=native)
        return algorithm("MlpPolicy", env, seed=seed, device="cpu", **settings, **kwargs)

    return build
