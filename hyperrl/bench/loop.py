"""How fast agents train end to end: simulation, acting, storing, sampling and updates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3 import SAC, TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import Timings, interleave
from hyperrl.environments import make_vec_env
from hyperrl.registry import agents

_ENV = "HalfCheetah-v5"
_STEPS = 150
_WARM_UP = 300

# How many times as fast as Stable-Baselines3's TD3 the compiled agent with the fast critic is to be.
_FLOORS = {"hyper-td3": 0.85, "hyper-td3, medium": 1.05}


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure everything, show it and write `loop.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        seed: Seed of networks and environments.
        quick: Shorter blocks, to see that everything works; speed is not judged then.

    Returns:
        Whether no floor was missed.

    Raises:
        RunFolderError: A file cannot be written.
    """
    rows: list[dict[str, Any]] = []
    for variants in (_td3(), _sac()):
        rows += measure(variants, rounds=rounds, steps=20 if quick else _STEPS, seed=seed)
    columns = ["variant", "baseline", "steps_per_cpu_second", "speedup", "speedup_min", "speedup_max"]
    show(f"Training on {_ENV}, one update a step", rows, [*columns, "floor", "met"])
    path = folder / "loop.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": "cpu", "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return quick or all(row["met"] is not False for row in rows)


def measure(
    variants: Mapping[str, Callable[[int], OffPolicyAlgorithm]], *, rounds: int, steps: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Let agents train in turns, each some steps at a time.

    Args:
        variants: Constructor of each agent, by name; the first is the baseline.
        rounds: Number of rounds.
        steps: Environment steps of a timed block; there is one update in each.
        seed: Seed of networks and environments.

    Returns:
        One row for each agent.
    """
    models = {name: build(seed) for name, build in variants.items()}
    for model in models.values():
        # The first updates compile, and allocate what stays.
        model.learn(model.learning_starts + _WARM_UP)
    blocks = {name: functools.partial(_train, model, steps) for name, model in models.items()}
    timings = interleave(blocks, rounds=rounds, calls=1, warm_up=0)
    baseline = next(iter(models))
    rows = [_row(name, baseline, timings, steps, rounds, seed) for name in models]
    for model in models.values():
        assert model.env is not None
        model.env.close()
    return rows


def _train(model: OffPolicyAlgorithm, steps: int) -> None:
    model.learn(steps, reset_num_timesteps=False)


def _row(name: str, baseline: str, timings: Timings, steps: int, rounds: int, seed: int) -> dict[str, Any]:
    speedup = timings.ratio(baseline, name, "cpu")
    floor = _FLOORS.get(name)
    return {
        "env": _ENV,
        "variant": name,
        "baseline": baseline,
        "steps": steps,
        "rounds": rounds,
        "steps_per_cpu_second": steps / timings.seconds(name, "cpu").median,
        "steps_per_second": steps / timings.seconds(name, "wall").median,
        "speedup": speedup.median,
        "speedup_min": speedup.low,
        "speedup_max": speedup.high,
        "floor": floor,
        "met": None if floor is None else speedup.median >= floor,
    } | provenance(seed, "cpu")


def _td3() -> dict[str, Callable[[int], OffPolicyAlgorithm]]:
    return {"sb3 TD3": functools.partial(_build, TD3), **_ours("td3")}


def _sac() -> dict[str, Callable[[int], OffPolicyAlgorithm]]:
    return {"sb3 SAC": functools.partial(_build, SAC), **_ours("sac")}


def _ours(algorithm: str) -> dict[str, Callable[[int], OffPolicyAlgorithm]]:
    variants: dict[str, Callable[[int], OffPolicyAlgorithm]] = {}
    for agent in (f"compiled-{algorithm}", f"hyper-{algorithm}"):
        cls = agents.get(agent)
        variants[f"{agent}, eager"] = functools.partial(_build, cls, compile=False)
        variants[agent] = functools.partial(_build, cls, compile=True)
        variants[f"{agent}, medium"] = functools.partial(_build, cls, compile=True, precision="medium")
    return variants


def _build(algorithm: Callable[..., OffPolicyAlgorithm], seed: int, **options: Any) -> OffPolicyAlgorithm:
    model = algorithm(
        "MlpPolicy",
        make_vec_env(_ENV, {}, 1, seed),
        batch_size=256,
        learning_starts=300,
        policy_kwargs={"net_arch": [256, 256]},
        buffer_size=100_000,
        seed=seed,
        device="cpu",
        **options,
    )
    model.set_logger(Logger(None, []))
    return model
