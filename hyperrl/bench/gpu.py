"""How many gradient steps a second a device makes: one agent, and several seeds of it at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import Timings, deciding_clock, interleave
from hyperrl.bench.update import NET_ARCH, TRANSITIONS, SpacesOnly, builder, fill, hyper, named
from hyperrl.registry import agents
from hyperrl.sb3.device_buffer import DeviceReplayBuffer
from hyperrl.sb3.seeds import SeedStack

_BATCH = 256
_Build = Callable[[str, int], OffPolicyAlgorithm]


@dataclass(frozen=True)
class Group:
    """Variants of one algorithm's gradient step.

    Attributes:
        name: What is compared.
        variants: Constructor of each variant by name; the first is the baseline.
        seeds: How many agents a step of the variant is one of, where more than one.
        floors: What the variant is to reach: ("speedup" over the baseline or "updates_per_second", how much).
    """

    name: str
    variants: Mapping[str, _Build]
    seeds: Mapping[str, int]
    floors: Mapping[str, tuple[str, float]]


def groups(stacks: tuple[int, ...], device: str, quick: bool = False) -> list[Group]:
    """All groups.

    Args:
        stacks: Numbers of seeds to train at once.
        device: "cuda" or "cpu", which has no TensorFloat-32.
        quick: The first group only.
    """
    found = []
    for algorithm, cls in (("td3", TD3), ("sac", SAC)):
        variants: dict[str, _Build] = {
            "sb3": builder(cls, "MlpPolicy"),
            "compiled": named(f"compiled-{algorithm}", {}, {"compile": True}),
        }
        seeds = {}
        for count in stacks:
            name = f"stack of {count}"
            variants[name], seeds[name] = stack_builder(f"compiled-{algorithm}", count), count
        # The whole update as one CUDA graph is a stack; "compiled" is the agent in its own loop.
        floors = {"stack of 1": ("speedup", 6.0)}
        found.append(Group(f"{algorithm}, 256-256", variants, seeds, floors))
    names = {f"stack of {count}": count for count in stacks}
    fast: dict[str, _Build] = {"eager": hyper("hyper-td3", "fast", compile=False)}
    fast |= {name: stack_builder("hyper-td3", count) for name, count in names.items()}
    paper: dict[str, _Build] = {
        "eager": hyper("hyper-td3", "paper", compile=False),
        "compiled": hyper("hyper-td3", "paper", compile=True),
    }
    if device == "cuda":
        paper["compiled, high"] = hyper("hyper-td3", "paper", compile=True, precision="high")
    floors = {name: ("updates_per_second", 1500.0) for name in ("compiled", "compiled, high")}
    found.append(Group("hyper-td3, published critic", paper, {}, floors))
    found.append(Group("hyper-td3, fast critic", fast, names, {}))
    return found[:1] if quick else found


def stack_builder(agent: str, count: int) -> _Build:
    """Return what builds several seeds of an agent at once, their replay buffer full of noise.

    Args:
        agent: Registered name.
        count: How many seeds.
    """

    def build(device: str, seed: int) -> OffPolicyAlgorithm:
        stack = SeedStack(
            agents.get(agent),
            "MlpPolicy",
            DummyVecEnv([SpacesOnly for _ in range(count)]),
            range(seed, seed + count),
            device=device,
            buffer_size=TRANSITIONS,
            batch_size=_BATCH,
            policy_kwargs={"net_arch": list(NET_ARCH)},
            compile=True,
        )
        assert isinstance(stack.replay_buffer, DeviceReplayBuffer)
        fill(stack.replay_buffer, seed)
        stack.set_logger(Logger(None, []))
        # What a GPU acts upon while it updates.
        stack._last_obs = np.zeros((count, *(stack.observation_space.shape or ())))
        stack.make_updates(compiled=True)
        return stack

    return build


def publish(
    folder: Path, *, device: str, rounds: int, stacks: tuple[int, ...], seed: int = 0, quick: bool = False
) -> bool:
    """Measure everything, show it and write `gpu.csv`, on the CPU `gpu-cpu.csv`.

    Args:
        folder: For the results.
        device: "cuda", or "cpu" to see what it does without a GPU.
        rounds: Number of rounds.
        stacks: Numbers of seeds to train at once.
        seed: Seed of networks and replay data.
        quick: A few small measurements only; speed is not judged then.

    Returns:
        Whether no floor was missed. On the CPU there is none.

    Raises:
        RunFolderError: A file cannot be written.
    """
    path = folder / ("gpu.csv" if device == "cuda" else "gpu-cpu.csv")
    settings = {"seed": seed, "threads": 1, "device": device, "rounds": rounds, "quick": quick}
    rows: list[dict[str, Any]] = []
    for group in groups(stacks, device, quick):
        print(f"timing {group.name}", flush=True)
        rows += measure(group, device=device, rounds=rounds, steps=2 if quick else _steps(device), seed=seed)
        # What a time limit cuts off is all that is lost.
        write_table(path, rows)
        record(folder, {path.name: settings})
    columns = [
        "group",
        "variant",
        "seeds",
        "ms",
        "updates_per_second",
        "speedup",
        "speedup_min",
        "speedup_max",
    ]
    show("Gradient steps; updates of all seeds together", rows, [*columns, "floor", "met"])
    print(path)
    return quick or all(row["met"] is not False for row in rows)


def measure(group: Group, *, device: str, rounds: int, steps: int, seed: int = 0) -> list[dict[str, Any]]:
    """Time all variants of a group, interleaved.

    Args:
        group: What is compared.
        device: "cuda" or "cpu".
        rounds: Number of rounds.
        steps: Gradient steps of a timed block; even, so that a delayed actor steps once in every two.
        seed: Seed of networks and replay data.

    Returns:
        One row per variant. "speedup" is that of updates per second, those of all seeds counted.
    """
    models = {name: build(device, seed) for name, build in group.variants.items()}
    blocks = {name: _block(model, steps) for name, model in models.items()}
    timings = interleave(blocks, rounds=rounds, calls=1, warm_up=1, device=device)
    rows = []
    for name, model in models.items():
        row = _row(group, name, timings, rounds, steps, device, seed)
        row["not_compiled"] = _not_compiled(model)
        if row["not_compiled"] and row["met"]:
            # Fast enough, but not what was to be measured.
            row["met"] = False
        rows.append(row)
    return rows


def _not_compiled(model: Any) -> str:
    """Why a model that was to compile its updates has not."""
    if isinstance(model, SeedStack):
        return "; ".join(model._updates.fallbacks)
    failed = getattr(model, "compile", False) and (model._failed is not None or model._refused)
    return "see the warning" if failed else ""


def _block(model: OffPolicyAlgorithm, steps: int) -> Callable[[], None]:
    return lambda: model.train(gradient_steps=steps, batch_size=_BATCH)


def _row(
    group: Group, name: str, timings: Timings, rounds: int, steps: int, device: str, seed: int
) -> dict[str, Any]:
    clock = deciding_clock(device)
    count = group.seeds.get(name, 1)
    seconds = timings.seconds(name, clock)
    ratio = timings.ratio(next(iter(group.variants)), name, clock)
    row: dict[str, Any] = {
        "group": group.name,
        "variant": name,
        "seeds": count,
        "batch_size": _BATCH,
        "device": device,
        "clock": clock,
        "rounds": rounds,
        "ms": seconds.median * 1e3 / steps,
        "updates_per_second": count * steps / seconds.median,
        "speedup": count * ratio.median,
        "speedup_min": count * ratio.low,
        "speedup_max": count * ratio.high,
    }
    measured, floor = group.floors.get(name, ("", None)) if device == "cuda" else ("", None)
    row |= {"floor_of": measured, "floor": floor}
    row["met"] = None if floor is None else row[measured] >= floor
    return row | provenance(seed, device)


def _steps(device: str) -> int:
    return 100 if device == "cuda" else 4
