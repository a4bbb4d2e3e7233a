"""How fast one policy plays in 64 contexts: all of them simulated together, or one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import Timings, interleave
from hyperrl.context import Region
from hyperrl.context.space import Array
from hyperrl.environments import make_env, make_vec_env

CONTEXTS = 64
STEPS = 100
FLOOR = 1.5
"""Times as fast as one environment at a time at least, by CPU time."""

SUITES = ("hyperrl/ContextualHopper-v0", "hyperrl/ContextualWalker2d-v0", "hyperrl/ContextualAnt-v0")

_TOGETHER, _ALONE = "together", "one at a time"
_COLUMNS = (
    "env",
    "contexts",
    "steps",
    "steps_per_second",
    "other_steps_per_second",
    "speedup",
    "speedup_min",
)


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure all suites, show the result and write `context_evaluation.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        seed: Seed of contexts, episodes and policy.
        quick: One suite and a few steps only, to see that everything works; speed is not judged then.

    Returns:
        Whether no floor was missed.

    Raises:
        RunFolderError: A file cannot be written.
    """
    rows = []
    for env_id in SUITES[:1] if quick else SUITES:
        print(f"timing {env_id}", flush=True)
        rows.append(measure(env_id, rounds=rounds, seed=seed, steps=5 if quick else STEPS))
    show(f"One policy in {CONTEXTS} contexts", rows, [*_COLUMNS, "speedup_max", "floor", "gate"])
    path = folder / "context_evaluation.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": "cpu", "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return quick or all(row["gate"] == "ok" for row in rows)


def measure(env_id: str, *, rounds: int, seed: int = 0, steps: int = STEPS) -> dict[str, Any]:
    """Play one episode in each of 64 contexts both ways, interleaved.

    Episodes have one length, so that both ways simulate as many steps and ask the policy for as many actions:
    a network of two hidden layers of 64 that sees the context, once for each step of all environments or once
    for each step of one.

    Args:
        env_id: The suite's id.
        rounds: Number of rounds.
        seed: Seed of contexts, episodes and policy.
        steps: Length of the episodes.

    Returns:
        A row of the table. ``speedup`` is of CPU time.
    """
    settings = {"append": "flat", "max_episode_steps": steps, "terminate_when_unhealthy": False}
    alone = make_env(env_id, settings)
    together = make_vec_env(env_id, settings, CONTEXTS, seed, native=True)
    try:
        policy = PPO("MlpPolicy", alone, seed=seed, device="cpu", n_steps=64)
        region = Region.training(alone.get_wrapper_attr("context_space"))
        contexts = region.lhs(np.random.default_rng(seed), CONTEXTS)
        blocks = {
            _ALONE: lambda: _play_alone(alone, policy, contexts, seed),
            _TOGETHER: lambda: _play_together(together, policy, contexts, seed),
        }
        timings = interleave(blocks, rounds=rounds, calls=1, warm_up=1)
    finally:
        alone.close()
        together.close()
    return _row(env_id, timings, rounds, seed, steps)


def _play_alone(env: Any, policy: PPO, contexts: Array, seed: int) -> Array:
    """Return the return of each context's episode, shape [n]."""
    returns = np.zeros(len(contexts))
    for index, context in enumerate(contexts):
        observation, _ = env.reset(seed=seed + index, options={"context": context})
        done = False
        while not done:
            action, _ = policy.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            returns[index] += reward
            done = terminated or truncated
    return returns


def _play_together(venv: VecEnv, policy: PPO, contexts: Array, seed: int) -> Array:
    """Return the return of each context's episode, shape [n]."""
    returns = np.zeros(len(contexts))
    begin: Any = venv.begin  # type: ignore[attr-defined]
    observations = begin(range(len(contexts)), [seed + index for index in range(len(contexts))], contexts)
    dones = np.zeros(len(contexts), bool)
    while not dones.all():
        actions, _ = policy.predict(observations, deterministic=True)
        observations, rewards, dones, _ = venv.step(actions)
        returns += rewards
    return returns


def _row(env_id: str, timings: Timings, rounds: int, seed: int, steps: int) -> dict[str, Any]:
    played = CONTEXTS * steps
    cpu, wall = (timings.ratio(_ALONE, _TOGETHER, clock) for clock in ("cpu", "wall"))
    return {
        "env": env_id,
        "contexts": CONTEXTS,
        "steps": steps,
        "rounds": rounds,
        "steps_per_second": played / timings.seconds(_TOGETHER, "cpu").median,
        "other_steps_per_second": played / timings.seconds(_ALONE, "cpu").median,
        "speedup": cpu.median,
        "speedup_min": cpu.low,
        "speedup_max": cpu.high,
        "wall_speedup": wall.median,
        "floor": FLOOR,
        "gate": "ok" if cpu.median >= FLOOR else "below",
        **provenance(seed, "cpu"),
    }
