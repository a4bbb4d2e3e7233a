"""How fast MuJoCo Warp steps with a policy in the loop: captured, kernel by kernel, beside native MuJoCo."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import Timings, calls_for, deciding_clock, interleave
from hyperrl_envs.native import make_native
from hyperrl_envs.warp import WarpSimulation

_HIDDEN = 64  # Units of each of the policy's two layers, Stable-Baselines3's own number for PPO.
_STEPS_COMPARED = 3

Step = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """Ways to step the same environments, each with the same policy.

    Attributes:
        env_id: The environments' id.
        worlds: How many there are.
        variants: Names of the ways: "captured", "eager" or "native".
        seconds: Length of a timed block of each.
        floors: How many times as fast as another way at least: (way, other way) to the number.
        least: Environment steps per second of the captured way at least, None for no limit.
    """

    env_id: str
    worlds: int
    variants: tuple[str, ...]
    seconds: float
    floors: Mapping[tuple[str, str], float] = field(default_factory=dict)
    least: float | None = None


def comparisons(device: str, quick: bool = False) -> list[Comparison]:
    """What is measured: 8,192 worlds on a GPU, a few on a processor.

    Args:
        device: "cpu" or "cuda".
        quick: Two worlds of a cheap task only, to see that everything works.
    """
    if quick:
        return [Comparison("Reacher-v5", 2, ("captured", "eager", "native"), 0.01)]
    pair = ("captured", "eager")
    if device == "cuda":
        return [Comparison("HalfCheetah-v5", 8192, pair, 0.7, {pair: 8.0}, 0.5e6)]
    ways = (*pair, "native")
    return [
        Comparison("HalfCheetah-v5", 8, ways, 0.25, {pair: 8.0}),
        Comparison("HalfCheetah-v5", 64, ways, 0.5),
    ]


def publish(folder: Path, *, device: str, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure everything, show it and write `warp.csv`, or `warp-cuda.csv` on a GPU.

    Args:
        folder: For the results.
        device: "cpu" or "cuda".
        rounds: Number of rounds.
        seed: Seed of environments and policy.
        quick: As in `comparisons`; speed is not judged then.

    Returns:
        Whether no floor was missed, and captured steps are those launched one by one.

    Raises:
        MissingExtraError: MuJoCo Warp is not installed.
        RunFolderError: A file cannot be written.
    """
    rows: list[dict[str, Any]] = []
    for comparison in comparisons(device, quick):
        print(f"timing {comparison.worlds} worlds of {comparison.env_id}", flush=True)
        rows += measure(comparison, device=device, rounds=rounds, seed=seed)
    columns = ["env", "worlds", "variant", "against", "clock", "steps_per_second", "other_steps_per_second"]
    columns += ["speedup", "speedup_min", "speedup_max", "floor", "least", "difference", "gate"]
    show("Environment steps with a policy in the loop", rows, columns)
    path = folder / f"warp{'' if device == 'cpu' else '-cuda'}.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": torch.get_num_threads(), "device": device}
    versions = {name: version(name) for name in ("mujoco-warp", "warp-lang")}
    record(folder, {path.name: {**settings, "rounds": rounds, "quick": quick, "simulator": versions}})
    print(path)
    return all(_same(row, device) and (quick or row["gate"] != "below") for row in rows)


def measure(comparison: Comparison, *, device: str, rounds: int, seed: int = 0) -> list[dict[str, Any]]:
    """Time all ways of a comparison, interleaved.

    Args:
        comparison: What is compared.
        device: "cpu" or "cuda".
        rounds: Number of rounds.
        seed: Seed of environments and policy.

    Returns:
        One row for each way but the first, against which it is measured: environment steps in a second of
        both and how many times as fast the first is by the clock that decides. ``difference`` is the largest
        one between the observations of the two after a few steps from the same states, None against native
        environments, which begin elsewhere. ``gate`` is "ok" or "below", and empty where there is no floor.
    """
    steps, simulations = _built(comparison, device, seed)
    difference = _difference(simulations)
    calls = {name: calls_for(step, comparison.seconds, device) for name, step in steps.items()}
    timings = interleave(steps, rounds=rounds, calls=calls, warm_up=1, device=device)
    first = comparison.variants[0]
    return [
        _row(comparison, (first, other), timings, difference if other == "eager" else None, device)
        | {"rounds": rounds}
        | provenance(seed, device)
        for other in comparison.variants[1:]
    ]


def _row(
    comparison: Comparison,
    pair: tuple[str, str],
    timings: Timings,
    difference: float | None,
    device: str,
) -> dict[str, Any]:
    clock = deciding_clock(device)
    speed, other_speed = (comparison.worlds / timings.seconds(name, clock).median for name in pair)
    speedup = timings.ratio(pair[1], pair[0], clock)
    floor = comparison.floors.get(pair)
    met = (floor is None or speedup.median >= floor) and speed >= (comparison.least or 0.0)
    return {
        "env": comparison.env_id,
        "worlds": comparison.worlds,
        "variant": pair[0],
        "against": pair[1],
        "clock": clock,
        "steps_per_second": speed,
        "other_steps_per_second": other_speed,
        "speedup": speedup.median,
        "speedup_min": speedup.low,
        "speedup_max": speedup.high,
        "floor": floor,
        "least": comparison.least,
        "difference": difference,
        "gate": "" if floor is None and comparison.least is None else "ok" if met else "below",
    }


def _built(
    comparison: Comparison, device: str, seed: int
) -> tuple[dict[str, Step], dict[str, WarpSimulation]]:
    """Return what steps all environments of each way once, and the simulations among them."""
    steps: dict[str, Step] = {}
    simulations = {}
    for name in comparison.variants:
        if name == "native":
            steps[name] = _native_step(comparison, seed)
            continue
        simulation = WarpSimulation(
            comparison.env_id, comparison.worlds, device=device, seed=seed, captured=name == "captured"
        )
        simulations[name] = simulation
        policy = _policy(simulation.observation_size, simulation.action_space.shape[0], seed)
        steps[name] = _WarpStep(simulation, policy.to(simulation.device))
    return steps, simulations


class _WarpStep:
    """Steps all worlds once, each with the action of the policy for what the step before returned."""

    def __init__(self, simulation: WarpSimulation, policy: nn.Module) -> None:
        self.simulation, self.policy = simulation, policy
        self.observations = simulation.reset()

    @torch.no_grad()
    def __call__(self) -> Tensor:
        self.observations = self.simulation.step_tensors(self.policy(self.observations)).observations
        return self.observations


def _native_step(comparison: Comparison, seed: int) -> Step:
    venv = make_native(comparison.env_id, comparison.worlds, seed, step_infos=False)
    space: Any = venv.action_space
    policy = _policy(int(np.prod(venv.observation_space.shape or ())), space.shape[0], seed)
    last: list[Any] = [venv.reset()]

    @torch.no_grad()
    def step() -> None:
        actions = policy(torch.from_numpy(last[0]).float()).numpy()
        last[0] = venv.step(actions)[0]

    return step


def _policy(observation_size: int, action_size: int, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(observation_size, _HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, _HIDDEN), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(_HIDDEN, action_size), nn.Tanh())


def _difference(simulations: Mapping[str, WarpSimulation]) -> float:
    """Return the largest difference between captured and eager observations after a few steps."""
    ends = []
    for simulation in simulations.values():
        simulation.seed(range(simulation.n_envs))
        simulation.reset()
        actions = torch.full(simulation.views["ctrl"].shape, 0.3, device=simulation.device)
        run = functools.partial(simulation.step_tensors, actions)
        ends.append([run().observations for _ in range(_STEPS_COMPARED)][-1])
    return float((ends[0] - ends[-1]).abs().max())


def _same(row: Mapping[str, Any], device: str) -> bool:
    # On a GPU contacts come in any order, so that sums of forces differ in their last bits.
    return row["difference"] is None or row["difference"] <= (0.0 if device == "cpu" else 1e-2)
