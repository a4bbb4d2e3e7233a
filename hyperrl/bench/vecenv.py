"""How fast environments are stepped: natively, by `DummyVecEnv` and by `SubprocVecEnv`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import Timings, interleave
from hyperrl.environments import make_env, make_vec_env
from hyperrl_envs.native import SUPPORTED

N_ENVS = 8
_BASELINE = "dummy"
_SEED_OF_ACTIONS = 1


@dataclass(frozen=True)
class Comparison:
    """Ways to step the same environments, each beside `DummyVecEnv` over `gymnasium.make`.

    Attributes:
        env_id: The environments' id.
        variants: Constructor of each way, by name; takes id, number of environments and seed.
        steps: Steps of all environments in a timed block.
        floors: How many times as fast as another way at least: (way, other way) to the number.
    """

    env_id: str
    variants: Mapping[str, Callable[[str, int, int], VecEnv]]
    steps: int
    floors: Mapping[tuple[str, str], float]


def comparisons(quick: bool = False) -> list[Comparison]:
    """What is measured: every native task, and HalfCheetah-v5 also in processes and on two threads.

    Args:
        quick: One cheap task only, to see that everything works.
    """
    if quick:
        return [Comparison("Reacher-v5", _pair(), 5, {("native", _BASELINE): 1.0})]
    return [_comparison(env_id) for env_id in SUPPORTED]


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure everything, show it and write `vecenv.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        seed: Seed of the environments.
        quick: As in `comparisons`; speed is not judged then.

    Returns:
        Whether no floor was missed and all ways agree on every bit of the last observations.

    Raises:
        RunFolderError: A file cannot be written.
    """
    rows: list[dict[str, Any]] = []
    for comparison in comparisons(quick):
        print(f"timing {comparison.env_id}", flush=True)
        rows += measure(comparison, rounds=rounds, seed=seed)
    columns = ["env", "variant", "against", "clock", "steps_per_second", "other_steps_per_second"]
    columns += ["speedup", "speedup_min", "speedup_max", "floor", "identical", "gate"]
    show(f"Steps of {N_ENVS} environments together", rows, columns)
    path = folder / "vecenv.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": "cpu", "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return all(row["identical"] and (quick or row["gate"] != "below") for row in rows)


def measure(comparison: Comparison, *, rounds: int, seed: int = 0) -> list[dict[str, Any]]:
    """Time all ways of a comparison, interleaved, with the same random actions.

    All ways simulate the same trajectories: they begin with the same seed and take the same steps.

    Args:
        comparison: What is compared.
        rounds: Number of rounds.
        seed: Seed of the environments.

    Returns:
        One row for each pair of ways: environment steps in a second of the faster one, and how many times as
        fast it is by CPU time and by the clock on the wall. ``clock`` names the one that decides: a process's
        CPU time does not count its children and counts threads twice. ``gate`` is "ok" or "below", and empty
        where there is no floor. ``identical`` says whether both ended with the same observations.
    """
    with _opened(comparison, seed) as envs:
        actions = _actions(envs[_BASELINE], comparison.steps)
        last: dict[str, NDArray[Any]] = {}

        def block(name: str) -> None:
            for batch in actions:
                last[name] = envs[name].step(batch)[0]  # type: ignore[assignment]

        blocks = {name: functools.partial(block, name) for name in envs}
        timings = interleave(blocks, rounds=rounds, calls=1, warm_up=1)
    pairs = {(name, _BASELINE): None for name in envs if name != _BASELINE} | dict.fromkeys(comparison.floors)
    return [_row(comparison, pair, timings, last, rounds, seed) for pair in pairs]


def _row(
    comparison: Comparison,
    pair: tuple[str, str],
    timings: Timings,
    last: Mapping[str, NDArray[Any]],
    rounds: int,
    seed: int,
) -> dict[str, Any]:
    name, other = pair
    clock = "wall" if {name, other} & {"subproc", "two threads"} else "cpu"
    env_steps = comparison.steps * N_ENVS
    row: dict[str, Any] = {
        "env": comparison.env_id,
        "variant": name,
        "against": other,
        "envs": N_ENVS,
        "clock": clock,
        "rounds": rounds,
        "steps_per_second": env_steps / timings.seconds(name, clock).median,
        "other_steps_per_second": env_steps / timings.seconds(other, clock).median,
    }
    for kind in ("cpu", "wall"):
        speedup = timings.ratio(other, name, kind)
        row |= {
            f"{kind}_speedup": speedup.median,
            f"{kind}_speedup_min": speedup.low,
            f"{kind}_speedup_max": speedup.high,
        }
    floor = comparison.floors.get(pair)
    row |= {
        "speedup": row[f"{clock}_speedup"],
        "speedup_min": row[f"{clock}_speedup_min"],
        "speedup_max": row[f"{clock}_speedup_max"],
        "floor": floor,
        "identical": bool(np.array_equal(last[name], last[other])),
    }
    row["gate"] = "" if floor is None else "ok" if row["speedup"] >= floor and row["identical"] else "below"
    return row | provenance(seed, "cpu")


def _comparison(env_id: str) -> Comparison:
    variants, floors = _pair(), {("native", _BASELINE): _FLOORS.get(env_id, 1.1)}
    steps = 100
    if env_id == "HalfCheetah-v5":
        variants["subproc"] = _subproc
        floors["native", "subproc"] = 4.0
        if len(os.sched_getaffinity(0)) > 1:
            variants["two threads"] = functools.partial(_native, threads=2)
    return Comparison(env_id, variants, steps, floors)


def _pair() -> dict[str, Callable[[str, int, int], VecEnv]]:
    return {_BASELINE: _dummy, "native": _native}


def _native(env_id: str, count: int, seed: int, threads: int = 1) -> VecEnv:
    return make_vec_env(env_id, {}, count, seed, native=True, threads=threads)


def _dummy(env_id: str, count: int, seed: int) -> VecEnv:
    # Without the `Monitor` of each, whose work the native environments do as well: the harder comparison.
    return _seeded(DummyVecEnv([lambda: make_env(env_id)] * count), seed)


def _subproc(env_id: str, count: int, seed: int) -> VecEnv:
    return _seeded(SubprocVecEnv([functools.partial(make_env, env_id)] * count), seed)


def _seeded(venv: VecEnv, seed: int) -> VecEnv:
    venv.seed(seed)
    return venv


@contextmanager
def _opened(comparison: Comparison, seed: int) -> Iterator[dict[str, VecEnv]]:
    envs: dict[str, VecEnv] = {}
    try:
        for name, build in comparison.variants.items():
            envs[name] = build(comparison.env_id, N_ENVS, seed)
            envs[name].reset()
        yield envs
    finally:
        for venv in envs.values():
            venv.close()


def _actions(venv: VecEnv, steps: int) -> NDArray[np.float32]:
    space: Any = venv.action_space
    generator = np.random.default_rng(_SEED_OF_ACTIONS)
    return generator.uniform(space.low, space.high, (steps, N_ENVS, *space.shape)).astype(np.float32)


# Below what was measured by a margin: the more a simulation costs, the less there is to win around it.
_FLOORS = {"HalfCheetah-v5": 1.3}
