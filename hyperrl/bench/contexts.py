"""What changing a context at a reset costs, beside a step and beside loading the robot's file again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import Spread, Timings, interleave
from hyperrl.environments import make_env

ROBOTS = ("HalfCheetah", "Hopper", "Walker2d", "Ant")
CONTEXT = ("mass", "gravity", "friction", "damping", "motor_strength")
"""Six arrays of the model and what MuJoCo derives from them."""

STEPS_LIMIT = 1.0
RELOADS_FLOOR = 40.0
_EPISODE = 25
_SEED_OF_ACTIONS = 1


@dataclass(frozen=True)
class Limits:
    """What a change of context may cost.

    Attributes:
        steps: Environment steps at most.
        reloads: How many times as much loading the file again costs, at least.
    """

    steps: float = STEPS_LIMIT
    reloads: float = RELOADS_FLOOR


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure all robots, show the results and write `contexts.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        seed: Seed of the environments.
        quick: One robot and few calls only; nothing is judged then.

    Returns:
        Whether no limit was missed.

    Raises:
        RunFolderError: A file cannot be written.
    """
    rows = []
    for robot in ROBOTS[:1] if quick else ROBOTS:
        print(f"timing {robot}", flush=True)
        rows.append(measure(robot, rounds=rounds, calls=10 if quick else 400, seed=seed))
    columns = ["robot", "reset_us", "context_reset_us", "reload_reset_us", "step_us", "change_us"]
    columns += ["steps", "steps_min", "steps_max", "reloads", "reloads_min", "reloads_max", "met"]
    show(f"A change of {', '.join(CONTEXT)} at a reset", rows, columns)
    path = folder / "contexts.csv"
    write_table(path, rows)
    record(
        folder, {path.name: {"seed": seed, "threads": 1, "device": "cpu", "rounds": rounds, "quick": quick}}
    )
    print(path)
    return quick or all(row["met"] for row in rows)


def measure(
    robot: str, *, rounds: int, calls: int, seed: int = 0, limits: Limits | None = None
) -> dict[str, Any]:
    """Time resets of one robot, with and without a change of context, and its steps, interleaved.

    A change is what a reset with another context takes longer than one without: drawing the context, writing
    it, deriving constants, showing it. A change by loading is what a reset takes longer that loads the
    robot's file first.

    Args:
        robot: One of `ROBOTS`.
        rounds: Number of rounds.
        calls: Timed calls of a block.
        seed: Seed of the environments.
        limits: What is asked for.

    Returns:
        A row: CPU microseconds, `steps` that a change costs, how many changes one `reload` costs, and whether
        both limits are met.
    """
    limits = limits or Limits()
    variants = _variants(robot, seed)
    per_block = {name: max(calls // 20, 1) if name == "reload" else calls for name in variants}
    timings = interleave(variants, rounds=rounds, calls=per_block, warm_up=3)
    change = _more(timings, "context")
    steps = Spread.of([cost / step for cost, step in zip(change, timings.cpu["step"], strict=True)])
    reloads = Spread.of([cost / own for cost, own in zip(_more(timings, "reload"), change, strict=True)])
    return {
        "robot": robot,
        "rounds": rounds,
        "reset_us": 1e6 * timings.seconds("plain", "cpu").median,
        "context_reset_us": 1e6 * timings.seconds("context", "cpu").median,
        "reload_reset_us": 1e6 * timings.seconds("reload", "cpu").median,
        "step_us": 1e6 * timings.seconds("step", "cpu").median,
        "change_us": 1e6 * Spread.of(change).median,
        "steps": steps.median,
        "steps_min": steps.low,
        "steps_max": steps.high,
        "steps_limit": limits.steps,
        "reloads": reloads.median,
        "reloads_min": reloads.low,
        "reloads_max": reloads.high,
        "reloads_floor": limits.reloads,
        "met": steps.median < limits.steps and reloads.median > limits.reloads,
    } | provenance(seed, "cpu")


def _more(timings: Timings, variant: str) -> list[float]:
    """Return what a reset takes longer than a plain one, in each round, at least a nanosecond."""
    pairs = zip(timings.cpu[variant], timings.cpu["plain"], strict=True)
    return [max(own - plain, 1e-9) for own, plain in pairs]


def _variants(robot: str, seed: int) -> dict[str, Callable[[], object]]:
    settings = {"disable_env_checker": True}
    plain, loaded, stepped = (make_env(f"{robot}-v5", settings) for _ in range(3))
    contextual = make_env(f"hyperrl/Contextual{robot}-v0", {**settings, "context": list(CONTEXT)})
    for env in (plain, loaded, stepped, contextual):
        env.reset(seed=seed)
    base: Any = loaded.unwrapped
    space: Any = stepped.action_space
    generator = np.random.default_rng(_SEED_OF_ACTIONS)
    actions = generator.uniform(space.low, space.high, (_EPISODE, *space.shape)).astype(np.float32)
    taken = 0

    def reload() -> None:
        base.model = mujoco.MjModel.from_xml_path(base.fullpath)
        base.data = mujoco.MjData(base.model)
        loaded.reset()

    def step() -> None:
        nonlocal taken
        if taken % _EPISODE == 0:
            stepped.reset()  # A twenty-fifth of it counts with each step.
        stepped.step(actions[taken % _EPISODE])
        taken += 1

    return {"plain": plain.reset, "context": contextual.reset, "reload": reload, "step": step}
