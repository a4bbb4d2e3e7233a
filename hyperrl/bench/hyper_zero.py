"""What a training step of HyperZero costs: weights generated once for each task, or once for each sample."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import deciding_clock, interleave
from hyperrl.nets import TargetMLP
from hyperrl_agents.hyper_zero import objectives
from hyperrl_agents.hyper_zero.batches import TaskBatch
from hyperrl_agents.hyper_zero.networks import ContextNetworks, Shape

GROUPED, PER_SAMPLE = "grouped", "per sample"
FLOOR = 5.0
"""How many times as fast as per-sample generation a step grouped by task is at least."""

_LIMIT = 1e-5
_GAMMA = 0.99
_RATE = 1e-4


@dataclass(frozen=True)
class Case:
    """A batch and the networks that it trains.

    Attributes:
        shape: The networks: HyperZero's, for the cheetah.
        tasks: Tasks of a batch.
        rows: Transitions of each.
    """

    shape: Shape = field(default_factory=lambda: Shape(17, 6, 1))
    tasks: int = 16
    rows: int = 32


def publish(folder: Path, *, rounds: int, device: str = "cpu", seed: int = 0, quick: bool = False) -> bool:
    """Measure, show the result and write `hyper_zero.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        device: "cpu" or "cuda".
        seed: Seed of networks and batch.
        quick: Small networks only, to see that everything works; speed is not judged then.

    Returns:
        Whether the floor was met, and all variants have the same loss and gradients.

    Raises:
        RunFolderError: A file cannot be written.
    """
    case = Case(Shape(5, 2, 1, embedding=(8,), hidden=(8,)), 4, 4) if quick else Case()
    rows = measure(case, rounds=rounds, device=device, seed=seed)
    columns = ["variant", "tasks", "rows", "cpu_ms", "wall_ms", "speedup", "speedup_min", "speedup_max"]
    show("A training step of HyperZero", rows, [*columns, "floor", "error", "gate"])
    path = folder / "hyper_zero.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": device, "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return all(row["error"] <= _LIMIT and (quick or row["gate"] != "below") for row in rows)


def measure(
    case: Case, *, rounds: int, device: str = "cpu", seed: int = 0, floor: float = FLOOR
) -> list[dict[str, Any]]:
    """Time whole training steps, interleaved: loss with all three terms, gradients and Adam.

    "per sample" generates and writes the weights of each sample, as the published code does. It is also the
    cheapest order for this many features: `hyperrl.nets.contraction.choose` picks it.

    Args:
        case: The batch and the networks.
        rounds: Number of rounds.
        device: "cpu" or "cuda".
        seed: Seed of networks and batch.
        floor: How many times as fast as "per sample" the grouped step must be.

    Returns:
        One row for each variant. ``speedup`` is what the grouped step gains over it; ``error`` the largest
        difference of loss or gradients from the grouped ones, relative to the largest of their tensor.
    """
    batch = _batch(case, device, seed)
    batches = {GROUPED: batch, PER_SAMPLE: batch.per_row()}
    learners = {name: _Learner(case, name, one, device, seed) for name, one in batches.items()}
    expected = learners[GROUPED].gradients()
    errors = {name: _difference(learner.gradients(), expected) for name, learner in learners.items()}
    steps: dict[str, Callable[[], None]] = {
        name: functools.partial(learner.step) for name, learner in learners.items()
    }
    timings = interleave(steps, rounds=rounds, calls=3, device=device)
    rows = []
    for name in batches:
        row: dict[str, Any] = {
            "variant": name,
            "tasks": case.tasks,
            "rows": case.rows,
            "rounds": rounds,
            **{f"{clock}_ms": 1e3 * timings.seconds(name, clock).median for clock in ("cpu", "wall")},
        }
        speedup = timings.ratio(name, GROUPED, deciding_clock(device))
        row |= {"speedup": speedup.median, "speedup_min": speedup.low, "speedup_max": speedup.high}
        row |= {"floor": floor if name == PER_SAMPLE else None, "error": errors[name]}
        met = errors[name] <= _LIMIT and (row["floor"] is None or speedup.median >= floor)
        row["gate"] = "" if row["floor"] is None else "ok" if met else "below"
        rows.append(row | provenance(seed, device))
    return rows


class _Learner:
    """Networks of their own that learn from one batch."""

    def __init__(self, case: Case, name: str, batch: TaskBatch, device: str, seed: int) -> None:
        torch.manual_seed(seed)
        self._networks = ContextNetworks(case.shape).to(device)
        if name == PER_SAMPLE:
            self._networks.policy_target = TargetMLP(case.shape.policy_spec, "materialise")
            self._networks.values_target = TargetMLP(case.shape.value_spec, "materialise")
        self._batch = batch
        self._optimizer = torch.optim.Adam(self._networks.parameters(), lr=_RATE, fused=True)

    def gradients(self) -> list[Tensor]:
        """Return the loss and all gradients."""
        loss = self._loss()
        return [loss.detach(), *torch.autograd.grad(loss, list(self._networks.parameters()))]

    def step(self) -> None:
        """Make one training step."""
        self._optimizer.zero_grad(set_to_none=True)
        self._loss().backward()
        self._optimizer.step()

    def _loss(self) -> Tensor:
        return objectives.regression(self._networks, self._batch, objectives.Weights(), _GAMMA)["loss"]


def _batch(case: Case, device: str, seed: int) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    size = (case.tasks, case.rows)
    return TaskBatch(
        contexts=normal(case.tasks, case.shape.context),
        states=normal(*size, case.shape.state),
        actions=normal(*size, case.shape.action).tanh(),
        rewards=normal(*size),
        next_states=normal(*size, case.shape.state),
        terminated=torch.zeros(size, device=device),
        values=10 * normal(*size),
    )


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        worst = max(worst, float((one - other).abs().max() / other.abs().max().clamp_min(1e-8)))
    return worst
