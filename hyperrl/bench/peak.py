"""How close the gradient step with the published critic comes to what the processor multiplies at best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import interleave
from hyperrl.bench.update import hyper

_BATCH = 256
_SIZE = 1024
_FLOOR = 0.65
_BASELINE = "one product of matrices"


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure, show and write `peak.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        seed: Seed of networks and data.
        quick: Not compiled, to see that everything works; speed is not judged then.

    Returns:
        Whether the floor was reached.

    Raises:
        RunFolderError: A file cannot be written.
    """
    rows = measure(rounds=rounds, seed=seed, compiled=not quick)
    columns = ["variant", "gflop", "ms", "gflop_per_second", "of_peak", "of_peak_min", "of_peak_max"]
    show("Published critic, one gradient step", rows, [*columns, "floor", "met"])
    path = folder / "peak.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": "cpu", "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return quick or all(row["met"] is not False for row in rows)


def measure(*, rounds: int, seed: int = 0, compiled: bool = True) -> list[dict[str, Any]]:
    """Time gradient steps and a plain product of matrices, interleaved, in float32.

    Args:
        rounds: Number of rounds.
        seed: Seed of networks and data.
        compiled: Whether to time the compiled step, too.

    Returns:
        One row for the product and one for each step. "gflop" is what `count` says of the ordinary step; the
        compiled one has the same to compute.
    """
    steps: dict[str, Callable[[], None]] = {}
    for name in ("paper", *(("compiled paper",) if compiled else ())):
        model = hyper("hyper-td3", "paper", compile=name != "paper")("cpu", seed)
        # Two updates: the actor learns on every other one.
        steps[name] = lambda model=model: model.train(gradient_steps=2, batch_size=_BATCH)  # type: ignore[misc]
    flops = dict.fromkeys(steps, count(steps["paper"]) / 2) | {_BASELINE: 2 * _SIZE**3}
    one, other = torch.randn(2, _SIZE, _SIZE, generator=torch.Generator().manual_seed(seed))
    out = torch.empty(_SIZE, _SIZE)
    variants: dict[str, Callable[[], object]] = {_BASELINE: lambda: torch.mm(one, other, out=out), **steps}
    calls = {name: 1 if name in steps else 20 for name in variants}
    timings = interleave(variants, rounds=rounds, calls=calls)
    per_call = {name: 2 if name in steps else 1 for name in variants}
    rows = []
    for name in variants:
        seconds = timings.seconds(name, "cpu").median / per_call[name]
        ratio = timings.ratio(_BASELINE, name, "cpu")
        # Both times within a round stand for a speed: what is to be done, over the time.
        work = flops[name] * per_call[name] / flops[_BASELINE]
        row: dict[str, Any] = {
            "variant": name,
            "batch_size": _BATCH,
            "rounds": rounds,
            "gflop": flops[name] / 1e9,
            "ms": seconds * 1e3,
            "gflop_per_second": flops[name] / seconds / 1e9,
            "of_peak": work * ratio.median,
            "of_peak_min": work * ratio.low,
            "of_peak_max": work * ratio.high,
            "floor": _FLOOR if name == "compiled paper" else None,
        }
        row["met"] = None if row["floor"] is None else row["of_peak"] >= row["floor"]
        rows.append(row | provenance(seed, "cpu"))
    return rows


def count(function: Callable[[], object]) -> float:
    """Return the floating-point operations of all products of matrices in a function.

    Args:
        function: It is called once.
    """
    # What `torch.utils.flop_counter` does not know, and `hyperrl.nets.dense` calls.
    known = {torch.ops.mkldnn._linear_pointwise: _linear_flops}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        function()
    return float(counter.get_total_flops())


def _linear_flops(x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(x) * weight[0]
