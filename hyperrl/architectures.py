"""The verb `architectures`: what every architecture of a run earns and costs, and which one to take."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hyperrl.environments import is_native, make_vec_env
from hyperrl.errors import RunFolderError
from hyperrl.evaluation.architecture_plot import plot_architectures
from hyperrl.evaluation.architectures import Tournament, policy_of
from hyperrl.evaluation.choice import Candidate, Limits, choose, overlooked, pareto_front
from hyperrl.evaluation.statistics import Interval
from hyperrl.exporters.budget import budget_of
from hyperrl.exporters.microcontrollers import MICROCONTROLLERS, microcontroller
from hyperrl.loading import load_agent
from hyperrl.ranges import whole
from hyperrl.run import RunFolder
from hyperrl.run.files import write_text
from hyperrl.run.manifest import available_cores
from hyperrl.run.seeding import seeds_of_evaluation

DEFAULT_MCU = "STM32F405"
_TABLE, _SETTINGS, _PICTURE = "architectures.csv", "architectures.json", "architectures.png"


@dataclass(frozen=True)
class Choice:
    """What came of it.

    Attributes:
        folder: The run's folder.
        checkpoint: Name of the checkpoint.
        steps: Environment steps that its weights had been trained for.
        candidates: All architectures, from the smallest to the largest.
        front: The finalists to which none is at least as good and smaller.
        chosen: The one that the limits ask for.
        table: All of it in CSV.
        picture: Returns against costs.
    """

    folder: RunFolder
    checkpoint: str
    steps: int
    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    chosen: Candidate
    table: Path
    picture: Path


def architectures(
    run_dir: str | Path,
    limits: Limits | None = None,
    *,
    screening: int = 8,
    episodes: int = 20,
    finalists: int = 3,
    seed: int = 0,
    checkpoint: str = "latest",
    again: bool = False,
    say: Callable[[str], None] = print,
) -> Choice:
    """Evaluate all architectures of a run, write a table and a picture, and choose one.

    All of them play some episodes, the better half of each class of size plays more, and so on; the best of
    each class play fresh ones; so do the best within the limits, where all of those are beyond them. What was
    evaluated before with the same settings is read from its table.

    The returns of the finalists owe nothing to the luck by which they became that. The best of them still
    owes something to these episodes: where finalists are close, evaluate the chosen one with another seed.

    Args:
        run_dir: The run's folder.
        limits: What the policy may cost and has to earn.
        screening: Most episodes that an architecture plays before the last round; 0 has all of them in it.
        episodes: Fresh episodes of the finalists, at least 2.
        finalists: How many of each class of size, each with up to twice as many parameters as the last.
        seed: Seed of the evaluation.
        checkpoint: "latest", "best" or a number of steps.
        again: Whether to evaluate even what was evaluated before.
        say: Called with a line for each round.

    Returns:
        The architectures and the choice.

    Raises:
        ConfigError: The run's agent has no architectures, a number is out of range, or none is within limits.
        HyperRLError: There is no such run or checkpoint.
    """
    limits = limits or Limits()
    if limits.mcu is not None:
        microcontroller(limits.mcu)
    numbers = {
        "screening": int(whole(0, 10_000).check("screening", screening)),
        "episodes": int(whole(2, 100_000).check("episodes", episodes)),
        "finalists": int(whole(1, 1000).check("finalists", finalists)),
        "seed": int(whole(0, 2**32 - 1).check("seed", seed)),
    }
    folder = RunFolder.open(run_dir)
    saved = folder.checkpoint(checkpoint, replay=False)
    settings = {"checkpoint": saved.name, "steps": saved.steps, **numbers}
    count = numbers["screening"] + numbers["episodes"]
    seeds = seeds_of_evaluation(folder.config().seed, numbers["seed"], count)
    screening_seeds, finals = seeds[: numbers["screening"]], seeds[numbers["screening"] :]
    candidates = None if again else _read(folder, settings)
    if candidates is None:
        with _tournament(folder, checkpoint, say) as tournament:
            candidates = tournament.play(screening_seeds, finals, numbers["finalists"])
        _write(folder, settings, candidates)
    more = overlooked(candidates, limits, numbers["finalists"])
    if more:
        with _tournament(folder, checkpoint, say) as tournament:
            for number, one in zip(more, tournament.finals(more, finals), strict=True):
                candidates[number] = one
        _write(folder, settings, candidates)
    picture = folder.evaluation / _PICTURE
    config = folder.config()
    mcu = limits.mcu or DEFAULT_MCU
    title = f"{config.agent} on {config.env}, seed {config.seed}, {saved.steps:,} steps"
    plot_architectures(candidates, title, mcu, picture)
    fresh = [one for one in candidates if one.is_finalist]
    return Choice(
        folder,
        checkpoint,
        saved.steps,
        tuple(candidates),
        tuple(pareto_front(fresh)),
        choose(fresh, limits),
        folder.evaluation / _TABLE,
        picture,
    )


@contextmanager
def _tournament(folder: RunFolder, checkpoint: str, say: Callable[[str], None]) -> Iterator[Tournament]:
    config = folder.config()
    torch.set_num_threads(min(config.threads, available_cores()))
    agent, _ = load_agent(folder, checkpoint)
    native = config.native and is_native(config.env, config.env_kwargs)
    try:
        yield Tournament(
            agent,
            policy_of(agent, config.agent),
            lambda count: make_vec_env(config.env, config.env_kwargs, count, 0, native=native),
            say=say,
        )
    finally:
        if agent.env is not None:
            agent.env.close()


def _write(folder: RunFolder, settings: dict[str, Any], candidates: list[Candidate]) -> None:
    config = folder.config()
    front = {one.architecture for one in pareto_front([one for one in candidates if one.is_finalist])}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    times = [f"us_{name.lower()}_{end}" for name in MICROCONTROLLERS for end in ("low", "high")]
    head = ["env", "agent", "run_seed", "steps", "architecture", "inputs", "outputs", "normalised"]
    head += ["parameters", "macs", "flash_bytes", "ram_bytes", *times]
    head += ["episodes", "mean_return", "low", "high", "finalist", "pareto_front"]
    writer.writerow(head)
    for one in candidates:
        budget = one.budget
        row: list[Any] = [config.env, config.agent, config.seed, settings["steps"]]
        row += [
            "-".join(map(str, one.architecture)),
            budget.sizes[0],
            budget.sizes[-1],
            int(budget.normalised),
        ]
        row += [budget.parameters, budget.macs, budget.flash_bytes, budget.ram_bytes]
        row += [f"{time:.4g}" for name in MICROCONTROLLERS for time in budget.microseconds(name)]
        row += [one.episodes, one.returns.estimate, one.returns.low, one.returns.high]
        writer.writerow([*row, int(one.is_finalist), int(one.architecture in front)])
    try:
        folder.evaluation.mkdir(exist_ok=True)
        write_text(folder.evaluation / _TABLE, text.getvalue())
        known = settings | {"table": _digest(text.getvalue())}
        write_text(folder.evaluation / _SETTINGS, json.dumps(known, indent=2) + "\n")
    except OSError as error:
        raise RunFolderError(
            f"{folder.evaluation / _TABLE} cannot be written: {error.strerror or error}"
        ) from error


def _read(folder: RunFolder, settings: dict[str, Any]) -> list[Candidate] | None:
    """Return what an earlier evaluation with the same settings found, None where there is none."""
    try:
        known = json.loads((folder.evaluation / _SETTINGS).read_text(encoding="utf-8"))
        table = (folder.evaluation / _TABLE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    # Missing, of other settings, or not as it was written: it is made anew.
    if known != settings | {"table": _digest(table)}:
        return None
    return [_candidate(row) for row in csv.DictReader(io.StringIO(table))]


def _digest(table: str) -> str:
    return hashlib.sha256(table.encode()).hexdigest()


def _candidate(row: dict[str, str]) -> Candidate:
    architecture = tuple(int(width) for width in row["architecture"].split("-"))
    sizes = [int(row["inputs"]), *architecture, int(row["outputs"])]
    budget = budget_of(sizes, normalised=row["normalised"] == "1")
    returns = Interval(float(row["mean_return"]), float(row["low"]), float(row["high"]))
    return Candidate(architecture, budget, int(row["episodes"]), returns, row["finalist"] == "1")
