"""How long each order of evaluating a generated layer takes, and what memory it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hyperrl.bench.memory import peak_bytes
from hyperrl.bench.report import provenance
from hyperrl.bench.timing import calls_for, deciding_clock, interleave
from hyperrl.nets.contraction import Contraction, apply_weight, choose
from hyperrl.nets.generated import GeneratedWeight

ORDERS: tuple[Contraction, ...] = ("materialise", "outer", "xw")
PASSES = ("forward", "forward+backward")
_BLOCK_SECONDS = 0.004
# Orders that are hopeless for a shape are not measured again and again.
_HOPELESS = 4.0


@dataclass(frozen=True)
class Case:
    """One generated layer.

    Attributes:
        source: Where the shape comes from.
        groups: Conditions G.
        rows: Inputs N per condition.
        k: Templates K.
        fan_in: Inputs of the layer.
        fan_out: Outputs of the layer.
    """

    source: str
    groups: int
    rows: int
    k: int
    fan_in: int
    fan_out: int


def cases(quick: bool = False) -> list[Case]:
    """The grid of shapes.

    Args:
        quick: Only a few small ones.
    """
    if quick:
        return [Case("fast critic", 8, 1, 32, 6, 256), Case("fast critic", 8, 1, 32, 256, 1)]
    grid = [
        Case("HypeRL Q, layer 1", 256, 1, 1024, 6, 256),
        Case("HypeRL Q, layer 2", 256, 1, 1024, 256, 1),
        Case("recurrent base net", 512, 1, 25, 256, 256),
        Case("recurrent base net", 512, 1, 25, 256, 128),
        Case("small base net", 1600, 1, 25, 32, 32),
        Case("PEARL policy", 1024, 1, 1024, 20, 256),
    ]
    shapes = ((17, 64), (64, 64), (64, 6))
    for k in (64, 8):
        for batch in (256, 8):
            grid += [Case("17-64-64-6", batch, 1, k, *shape) for shape in shapes]
    grid += [Case("17-256-256-6", 256, 1, 64, *shape) for shape in ((17, 256), (256, 256), (256, 6))]
    critic = ((6, 256), (256, 1))
    for batch in (1, 8, 100, 256):
        grid += [Case("fast critic", batch, 1, 32, *shape) for shape in critic]
    for groups, rows in ((8, 32), (4, 256)):
        grid += [Case("17-64-64-6, grouped", groups, rows, 64, *shape) for shape in shapes]
        grid += [Case("fast critic, grouped", groups, rows, 32, *shape) for shape in critic]
    return grid


def measure(case: Case, *, rounds: int, device: str = "cpu", seed: int = 0) -> list[dict[str, Any]]:
    """Time every order on one layer, interleaved, and measure its peak memory.

    The baseline materialises each condition's matrix and applies it by ``torch.bmm``, written out here.
    Gradients are those of bank, coefficients, base and inputs.

    Args:
        case: The layer.
        rounds: Number of rounds.
        device: "cpu" or "cuda".
        seed: Seed of the numbers.

    Returns:
        One row per pass and order, the baseline ``bmm`` and the choice ``auto`` included. ``ratio_to_bmm``
        and ``ratio_to_best`` are medians of ratios within rounds, by CPU time (by the wall's on a GPU).
    """
    layer = Layer(case, device, seed)
    return [row for kind in PASSES for row in _measure_pass(layer, kind, rounds, device, seed)]


def _measure_pass(layer: Layer, kind: str, rounds: int, device: str, seed: int) -> list[dict[str, Any]]:
    case, clock = layer.case, deciding_clock(device)
    work = {name: layer.work(name, kind) for name in ("bmm", *ORDERS, "auto")}
    calls = {name: calls_for(function, _BLOCK_SECONDS, device) for name, function in work.items()}
    trial = interleave(work, rounds=2, calls=calls, device=device)
    quickest = min(trial.seconds(name, clock).low for name in work)
    close = {
        n: f for n, f in work.items() if n == "bmm" or trial.seconds(n, clock).low < _HOPELESS * quickest
    }
    timings = interleave(close, rounds=rounds, calls=calls, device=device)
    best = min((n for n in close if n != "auto"), key=lambda name: timings.seconds(name, clock).median)
    chosen = choose(case.groups, case.rows, case.k, case.fan_in, case.fan_out)
    found = []
    for name, function in work.items():
        measured = timings if name in close else trial
        to_bmm = measured.ratio(name, "bmm", clock)
        row: dict[str, Any] = {"source": case.source, "groups": case.groups, "rows": case.rows, "k": case.k}
        row |= {"fan_in": case.fan_in, "fan_out": case.fan_out, "pass": kind, "order": name}
        row |= {"device": device, "clock": clock, "rounds": rounds if name in close else 2}
        row |= {f"{c}_us": measured.seconds(name, c).median * 1e6 for c in ("cpu", "wall")}
        row |= {"ratio_to_bmm": to_bmm.median, "ratio_min": to_bmm.low, "ratio_max": to_bmm.high}
        row |= {
            "ratio_to_best": measured.ratio(name, best, clock).median,
            "best": best,
            "auto_is": chosen,
            "peak_mb": peak_bytes(function, device) / 1e6,
        }
        found.append(row | provenance(seed, device))
    return found


def overview(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per layer and pass, for the screen: microseconds of bmm, the others' times in units of it.

    Args:
        rows: What `measure` returned, for any number of cases.
    """
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        layer = f"{row['groups']}x{row['rows']} {row['k']} {row['fan_in']}-{row['fan_out']}"
        line = lines.setdefault((layer, row["pass"]), {"GxN_K_in-out": layer, "pass": row["pass"]})
        if row["order"] == "bmm":
            line["bmm_us"] = row[f"{row['clock']}_us"]
        else:
            line[row["order"]] = row["ratio_to_bmm"]
        if row["order"] in ("bmm", "auto"):
            line[f"{row['order']}_mb"] = row["peak_mb"]
        if row["order"] == "auto":
            line |= {"auto_is": row["auto_is"], "best": row["best"], "auto/best": row["ratio_to_best"]}
    return list(lines.values())


class Layer:
    """Tensors of a case, and the pieces of work on them."""

    def __init__(self, case: Case, device: str, seed: int) -> None:
        self.case = case
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(device).requires_grad_()

        self.bank = normal(case.k, case.fan_in, case.fan_out)
        self.base = normal(case.fan_in, case.fan_out)
        self.coefficients = normal(case.groups, case.k)
        self.x = normal(case.groups, case.rows, case.fan_in)
        self.gradient = normal(case.groups, case.rows, case.fan_out).detach()
        self.weight = GeneratedWeight(self.base, self.bank, self.coefficients)

    def work(self, order: str, kind: str) -> Callable[[], object]:
        """One forward pass without, or one with, the backward pass."""
        if kind == "forward":
            return lambda: self._forward_only(order)
        leaves = (self.bank, self.coefficients, self.base, self.x)
        return lambda: torch.autograd.grad(self.apply(order), leaves, self.gradient)

    def apply(self, order: str) -> Tensor:
        """The layer's output ``[G, N, out]``."""
        if order == "bmm":
            flat = self.coefficients @ self.bank.reshape(self.case.k, -1)
            matrices = flat.reshape(-1, self.case.fan_in, self.case.fan_out) + self.base
            return torch.bmm(self.x, matrices)
        return apply_weight(self.weight, self.x, order)  # type: ignore[arg-type]

    def _forward_only(self, order: str) -> Tensor:
        with torch.no_grad():
            return self.apply(order)
