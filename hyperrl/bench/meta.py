"""What meta-learners save: weights once for each task, layers without their matrices, memory in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from hyperrl.bench import contraction
from hyperrl.bench.memory import peak_bytes
from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import deciding_clock, interleave
from hyperrl.nets import Generated, HyperNet, TargetMLP, TargetSpec
from hyperrl.sb3.meta.trials import trial_space
from hyperrl_agents.recurrent_hyper.columns import Columns
from hyperrl_agents.recurrent_hyper.encoder import HistoryEncoder

Work = Callable[[], list[Tensor]]
PASSES = ("forward", "forward+backward")
_LIMIT = 1e-4  # Float32, in another order.


@dataclass(frozen=True)
class Sizes:
    """How large all is.

    Attributes:
        tasks: Tasks of a batch.
        states: States of each.
        trunk: Widths of the primary network that reads the task.
        rows: Rows of a layer that is generated for each of them.
        width: Its inputs and outputs.
        features: Numbers that it is generated from.
        steps: Steps of a sequence.
        sequences: Sequences of a minibatch.
        hidden: Size of the memory.
    """

    tasks: int = 4
    states: int = 256
    trunk: tuple[int, ...] = (256, 512, 1024)
    rows: int = 512
    width: int = 256
    features: int = 25
    steps: int = 400
    sequences: int = 4
    hidden: int = 256


QUICK = Sizes(2, 4, (8,), 8, 64, 2, 12, 2, 8)


@dataclass(frozen=True)
class Comparison:
    """Two ways to the same numbers.

    Attributes:
        name: What they do.
        ours: Ours: computes outputs without gradients, or outputs and gradients.
        other: The other.
        floor: How many times as fast ours must be.
        memory_floor: How many times as much memory the other must need; None where it is not judged.
    """

    name: str
    ours: Callable[[bool], list[Tensor]]
    other: Callable[[bool], list[Tensor]]
    floor: float
    memory_floor: float | None = None


def comparisons(sizes: Sizes, device: str, seed: int) -> list[Comparison]:
    """Build what is compared.

    Args:
        sizes: How large.
        device: "cpu" or "cuda".
        seed: Of networks and inputs.
    """
    torch.manual_seed(seed)
    return [
        _policy(sizes, device),
        _layer(sizes, device, seed),
        _memory(sizes, device),
        _memory(replace(sizes, hidden=sizes.hidden // 4), device),
    ]


def publish(folder: Path, *, rounds: int, device: str = "cpu", seed: int = 0, quick: bool = False) -> bool:
    """Measure, show the result and write `meta.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        device: "cpu" or "cuda".
        seed: Seed of networks and inputs.
        quick: Small sizes only, to see that everything works; speed is not judged then.

    Returns:
        Whether all floors were met, and both ways give the same numbers.

    Raises:
        RunFolderError: A file cannot be written.
    """
    found = comparisons(QUICK if quick else Sizes(), device, seed)
    rows = [
        row | provenance(seed, device) for one in found for row in measure(one, rounds=rounds, device=device)
    ]
    columns = ["work", "pass", "ours_ms", "other_ms", "speedup", "speedup_min", "speedup_max", "floor"]
    show("Meta-learners", rows, [*columns, "less_memory", "memory_floor", "error", "gate"])
    path = folder / "meta.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": device, "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return all(row["error"] <= _LIMIT and (quick or row["gate"] == "ok") for row in rows)


def measure(comparison: Comparison, *, rounds: int, device: str = "cpu") -> list[dict[str, Any]]:
    """Time both ways, interleaved, and measure their peak memory.

    Args:
        comparison: What is compared.
        rounds: Number of rounds.
        device: "cpu" or "cuda".

    Returns:
        One row for each pass.
    """
    return [_measured(comparison, name, rounds, device) for name in PASSES]


def _measured(comparison: Comparison, name: str, rounds: int, device: str) -> dict[str, Any]:
    backward, clock = name != "forward", deciding_clock(device)
    work: dict[str, Work] = {
        "ours": lambda: comparison.ours(backward),
        "other": lambda: comparison.other(backward),
    }
    error = _difference(work["ours"](), work["other"]())
    timings = interleave(work, rounds=rounds, calls={"ours": 4, "other": 1}, device=device)
    speedup = timings.ratio("other", "ours", clock)
    memory = {way: peak_bytes(function, device) for way, function in work.items()}
    less = memory["other"] / max(memory["ours"], 1)
    met = error <= _LIMIT and speedup.median >= comparison.floor
    met &= comparison.memory_floor is None or less >= comparison.memory_floor
    return {
        "work": comparison.name,
        "pass": name,
        "rounds": rounds,
        **{f"{way}_ms": 1e3 * timings.seconds(way, clock).median for way in work},
        "speedup": speedup.median,
        "speedup_min": speedup.low,
        "speedup_max": speedup.high,
        "floor": comparison.floor,
        **{f"{way}_mb": memory[way] / 1e6 for way in work},
        "less_memory": less,
        "memory_floor": comparison.memory_floor,
        "error": error,
        "gate": "ok" if met else "below",
    }


def _policy(sizes: Sizes, device: str) -> Comparison:
    """HypeRL's policy of tasks: generated once for each, or for each state."""
    spec = TargetSpec.mlp(20, (256,), 6, gain=True)
    hyper = HyperNet(spec, 1, trunk="residual", hidden=sizes.trunk, init="hyperl").to(device)
    contexts = torch.randn(sizes.tasks, 1, device=device)
    states = torch.randn(sizes.tasks, sizes.states, 20, device=device)
    target = TargetMLP(spec)
    parameters: list[Tensor] = list(hyper.parameters())

    def once(backward: bool) -> list[Tensor]:
        return _passed(lambda: target(_generated(hyper, contexts), states), parameters, backward)

    def for_each(backward: bool) -> list[Tensor]:
        repeated = contexts.repeat_interleave(sizes.states, dim=0)

        def act() -> Tensor:
            return target(_generated(hyper, repeated), states.flatten(0, 1)).view(*states.shape[:2], -1)

        return _passed(act, parameters, backward)

    return Comparison(f"policies of {sizes.tasks} tasks, {sizes.states} states each", once, for_each, 20.0)


def _layer(sizes: Sizes, device: str, seed: int) -> Comparison:
    """A layer of the recurrent agents' generated networks: applied without its matrices, or with them."""
    case = contraction.Case("", sizes.rows, 1, sizes.features, sizes.width, sizes.width)
    layer = contraction.Layer(case, device, seed)
    leaves = [layer.bank, layer.coefficients, layer.base, layer.x]

    def way(order: str) -> Callable[[bool], list[Tensor]]:
        return lambda backward: _passed(lambda: layer.apply(order), leaves, backward)

    name = f"a generated {sizes.width} x {sizes.width} layer of {sizes.rows} rows"
    return Comparison(name, way("auto"), way("bmm"), 4.0, 5.0)


def _memory(sizes: Sizes, device: str) -> Comparison:
    """The recurrent agents' memory over a minibatch: one call for all pieces of trials, or step by step."""
    space = trial_space(spaces.Box(-1, 1, (17,)), spaces.Box(-1, 1, (6,)))
    columns = Columns.of(space)
    encoder = HistoryEncoder(columns, sizes.hidden, 5, (32, 16, 16), torch.ones(6)).to(device)
    features = torch.randn(sizes.steps, sizes.sequences, spaces.flatdim(space), device=device)
    columns.start(features)[:] = 0
    # Trials of different environments begin at different steps.
    for sequence in range(sizes.sequences):
        columns.start(features)[sequence :: sizes.steps // 2, sequence] = 1
    parameters: list[Tensor] = [*encoder.gru.parameters(), encoder.state.weight]
    before = torch.randn(sizes.sequences, sizes.hidden, device=device)

    def at_once(backward: bool) -> list[Tensor]:
        return _passed(lambda: encoder.sequences(features, before), parameters, backward)

    def step_by_step(backward: bool) -> list[Tensor]:
        def go() -> Tensor:
            hidden, found = before, []
            for step in features:
                hidden = encoder.step(step, hidden)
                found.append(hidden)
            return torch.stack(found)

        return _passed(go, parameters, backward)

    return Comparison(
        f"memory of {sizes.hidden} numbers, {sizes.sequences} sequences of {sizes.steps} steps",
        at_once,
        step_by_step,
        5.0,
    )


def _generated(hyper: HyperNet, contexts: Tensor) -> Generated:
    generated: Generated = hyper(contexts)
    return generated


def _passed(forward: Callable[[], Tensor], leaves: list[Tensor], backward: bool) -> list[Tensor]:
    """Return the output, and the gradients of the sum of its squares."""
    if not backward:
        with torch.no_grad():
            return [forward()]
    out = forward()
    return [out.detach(), *torch.autograd.grad(out.square().mean(), leaves)]


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """How far outputs, and gradients taken together, lie from the others, relative to their norms."""
    worst = 0.0
    for part in (slice(0, 1), slice(1, None)):
        pairs = [
            (one.flatten(), other.flatten()) for one, other in zip(found[part], expected[part], strict=True)
        ]
        if pairs:
            ours, others = (torch.cat(column) for column in zip(*pairs, strict=True))
            worst = max(worst, float((ours - others).norm() / others.norm().clamp_min(1e-12)))
    return worst
