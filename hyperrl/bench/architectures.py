"""How fast networks of many architectures are generated, applied and trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hyperrl.bench.naive_generator import NaiveGraphGenerator, NaiveNetwork, plain_network
from hyperrl.bench.report import provenance, record, show, write_table
from hyperrl.bench.timing import calls_for, interleave
from hyperrl.nets.architectures import ArchitectureSampler, ArchitectureSpace
from hyperrl.nets.architectures.generators import WeightGenerator
from hyperrl.nets.architectures.layout import Layout
from hyperrl.nets.architectures.packing import KERNELS, Packing, kernel_for
from hyperrl.registry import generators

_INPUTS, _OUTPUTS = 17, 6
_ROWS = 64
_BLOCK_SECONDS = 0.02
_CLIP = 0.2
_SPACES = {"paper": ArchitectureSpace.paper, "cpu": ArchitectureSpace.cpu}
# How many times as fast as the published implementation, or as a loop over modules.
_GENERATION_FLOOR, _MINIBATCH_FLOOR, _ACTING_FLOOR = 8.0, 6.0, 9.0
# So many architectures for the first two, twice as many for the last.
_MANY = 32
_OURS = "graph"


@dataclass(frozen=True)
class Comparison:
    """Ways of doing the same, the first of which is the baseline.

    Attributes:
        work: What is done.
        space: The architectures are of this space.
        count: How many architectures there are.
        rows: Rows of each network's input, 0 where none is applied.
        variants: What does it, by name.
        floors: How many times as fast as the baseline it is to be, by variant.
    """

    work: str
    space: str
    count: int
    rows: int
    variants: Mapping[str, Callable[[], object]]
    floors: Mapping[str, float] = field(default_factory=dict)


def publish(folder: Path, *, rounds: int, seed: int = 0, quick: bool = False) -> bool:
    """Measure everything, show it and write `architectures.csv`.

    Args:
        folder: For the results.
        rounds: Number of rounds.
        seed: Seed of networks, architectures and data.
        quick: A few small comparisons only, to see that everything works; speed is not judged then.

    Returns:
        Whether no floor was missed.

    Raises:
        RunFolderError: A file cannot be written.
    """
    rows: list[dict[str, Any]] = []
    for build in comparisons(quick):
        torch.manual_seed(seed)
        rows += measure(build(seed), rounds=rounds, seed=seed)
    columns = ["work", "space", "architectures", "rows", "variant", "cpu_ms", "speedup"]
    show("Many architectures at once", rows, [*columns, "speedup_min", "speedup_max", "floor", "met"])
    path = folder / "architectures.csv"
    write_table(path, rows)
    settings = {"seed": seed, "threads": 1, "device": "cpu", "rounds": rounds, "quick": quick}
    record(folder, {path.name: settings})
    print(path)
    return quick or all(row["met"] is not False for row in rows)


def comparisons(quick: bool = False) -> list[Callable[[int], Comparison]]:
    """Return what makes each comparison for a seed; one at a time, as each holds much memory.

    Args:
        quick: Only a few small ones.
    """
    counts = (2,) if quick else (8, _MANY)
    generation = [
        partial(generate, count, backward=backward) for count, backward in product(counts, (False, True))
    ]
    if quick:
        return [*generation, partial(minibatch, 2), partial(act, 4), partial(apply, "cpu", 2, 1, False)]
    costs = [partial(cost, space, count) for space, count in product(_SPACES, counts)]
    kernels = [
        partial(apply, *case) for case in product(_SPACES, (8, 32, 64), (1, 8, 64, 256), (False, True))
    ]
    return [*generation, partial(minibatch, _MANY), partial(act, 2 * _MANY), *costs, *kernels]


def measure(comparison: Comparison, *, rounds: int, seed: int = 0) -> list[dict[str, Any]]:
    """Time all variants, interleaved.

    Args:
        comparison: What is compared.
        rounds: Number of rounds.
        seed: Noted in the rows.

    Returns:
        One row for each variant.
    """
    variants = comparison.variants
    calls = {name: calls_for(work, _BLOCK_SECONDS) for name, work in variants.items()}
    timings = interleave(variants, rounds=rounds, calls=calls)
    baseline = next(iter(variants))
    rows = []
    for name in variants:
        speedup = timings.ratio(baseline, name, "cpu")
        floor = comparison.floors.get(name)
        row = {
            "work": comparison.work,
            "space": comparison.space,
            "architectures": comparison.count,
            "rows": comparison.rows,
            "variant": name,
            "baseline": baseline,
            "rounds": rounds,
            "cpu_ms": timings.seconds(name, "cpu").median * 1e3,
            "wall_ms": timings.seconds(name, "wall").median * 1e3,
            "speedup": speedup.median,
            "speedup_min": speedup.low,
            "speedup_max": speedup.high,
            "floor": floor,
            "met": None if floor is None else speedup.median >= floor,
        }
        rows.append(row | provenance(seed, "cpu"))
    return rows


def generate(count: int, seed: int, *, backward: bool) -> Comparison:
    """Compare our graph generator with the published form of it.

    Args:
        count: How many architectures.
        seed: Seed of the draw.
        backward: Whether gradients are worked out too.
    """
    layout = _draw("paper", count, seed)
    variants: dict[str, Callable[[], object]] = {}
    for name, convolutions in (("published", True), ("published, dense layers", False)):
        naive = NaiveGraphGenerator(_INPUTS, _OUTPUTS, convolutions=convolutions)
        variants[name] = _generation(naive, partial(_naive_weights, naive, layout), backward)
    ours = _generator(_OURS, layout)
    variants[_OURS] = _generation(ours, partial(ours, layout), backward)
    work = f"generate, forward{'+backward' if backward else ''}"
    floors = {_OURS: _GENERATION_FLOOR} if backward and count == _MANY else {}
    return Comparison(work, "paper", count, 0, variants, floors)


def cost(space: str, count: int, seed: int) -> Comparison:
    """Compare what registered generators need for a step: forward and backward.

    Args:
        space: Name of the space.
        count: How many architectures.
        seed: Seed of the draw.
    """
    layout = _draw(space, count, seed)
    variants = {}
    for name in generators.names():
        generator = _generator(name, layout)
        variants[name] = _generation(generator, partial(generator, layout), True)
    return Comparison("generate, forward+backward, all", space, count, 0, variants)


def minibatch(count: int, seed: int) -> Comparison:
    """Compare one whole step of policy optimisation, without the critic.

    Args:
        count: How many architectures.
        seed: Seed of the draw and the data.
    """
    layout = _draw("paper", count, seed)
    data = _Batch(count)
    variants: dict[str, Callable[[], object]] = {}
    for name, convolutions in (("published", True), ("published, dense layers", False)):
        naive = NaiveGraphGenerator(_INPUTS, _OUTPUTS, convolutions=convolutions)
        actor = partial(_naive_actor, naive, layout)
        variants[name] = partial(data.step, naive, actor, torch.optim.Adam(naive.parameters(), lr=3e-4))
    packing = Packing(layout, kernel_for(layout.architectures, _ROWS, training=True))
    for name in (_OURS, "transformer"):
        ours = _generator(name, layout)
        actor = partial(_actor, ours, packing)
        optimizer = torch.optim.Adam(ours.parameters(), lr=3e-4, fused=True)
        variants[name] = partial(data.step, ours, actor, optimizer)
    floors = {_OURS: _MINIBATCH_FLOOR} if count == _MANY else {}
    return Comparison("training minibatch", "paper", count, _ROWS, variants, floors)


def act(count: int, seed: int) -> Comparison:
    """Compare acting with one observation for each network.

    Args:
        count: How many architectures.
        seed: Seed of the draw and the data.
    """
    layout = _draw("cpu", count, seed)
    modules = [plain_network((_INPUTS, *widths, _OUTPUTS)) for widths in layout.architectures]
    packing = Packing(layout, kernel_for(layout.architectures, 1))
    packed = packing.pack(torch.randn(layout.total))
    x = torch.randn(count, 1, _INPUTS)

    def loop() -> Tensor:
        with torch.no_grad():
            return torch.stack([module(row) for module, row in zip(modules, x, strict=True)])

    def ours() -> Tensor:
        with torch.no_grad():
            return packed(x)

    floors = {"packed": _ACTING_FLOOR} if count == 2 * _MANY else {}
    return Comparison("act", "cpu", count, 1, {"modules": loop, "packed": ours}, floors)


def apply(space: str, count: int, rows: int, training: bool, seed: int) -> Comparison:
    """Compare the kernels that apply many networks, and the one that would be chosen.

    Args:
        space: Name of the space.
        count: How many architectures.
        rows: Rows of each network's input.
        training: Whether weights are packed in every call and gradients are worked out too.
        seed: Seed of the draw.
    """
    layout = _draw(space, count, seed)
    flat = torch.randn(layout.total, requires_grad=True)
    x = torch.randn(count, rows, _INPUTS)

    def work(packing: Packing) -> Callable[[], object]:
        def train() -> None:
            flat.grad = None
            packing.pack(flat)(x).sum().backward()

        with torch.no_grad():
            packed = packing.pack(flat)

        def forward() -> Tensor:
            with torch.no_grad():
                return packed(x)

        return train if training else forward

    variants = {kernel: work(Packing(layout, kernel)) for kernel in KERNELS}
    variants["auto"] = work(Packing(layout, kernel_for(layout.architectures, rows, training)))
    name = "pack and apply, forward+backward" if training else "apply, forward"
    return Comparison(name, space, count, rows, variants)


class _Batch:
    """Transitions of several architectures, and a step of proximal policy optimisation on them."""

    def __init__(self, count: int) -> None:
        self.observations = torch.randn(count, _ROWS, _INPUTS)
        self.actions = torch.randn(count, _ROWS, _OUTPUTS)
        self.advantages = torch.randn(count, _ROWS)
        self.old = -self.actions.square().sum(-1) / 2

    def step(
        self, module: nn.Module, actor: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer
    ) -> None:
        means = actor(self.observations)
        logarithms = -(self.actions - means).square().sum(-1) / 2
        ratio = (logarithms - self.old).exp()
        clipped = ratio.clamp(1 - _CLIP, 1 + _CLIP)
        loss = -torch.min(ratio * self.advantages, clipped * self.advantages).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimizer.step()


def _draw(space: str, count: int, seed: int) -> Layout:
    architectures = _SPACES[space](_INPUTS, _OUTPUTS)
    return Layout(architectures, ArchitectureSampler(architectures, count, seed=seed).draw())


def _generator(name: str, layout: Layout) -> WeightGenerator:
    generator: WeightGenerator = generators.get(name)(layout.space)
    return generator


def _generation(module: nn.Module, weights: Callable[[], Tensor], backward: bool) -> Callable[[], object]:
    def forward() -> None:
        with torch.no_grad():
            weights()

    def both() -> None:
        module.zero_grad()
        weights().sum().backward()

    return both if backward else forward


def _naive_weights(naive: NaiveGraphGenerator, layout: Layout) -> Tensor:
    networks = naive(layout.architectures)
    return torch.cat([part.flatten() for network in networks for layer in network for part in layer])


def _naive_actor(naive: NaiveGraphGenerator, layout: Layout, x: Tensor) -> Tensor:
    networks = [NaiveNetwork(layers) for layers in naive(layout.architectures)]
    return torch.stack([network(rows) for network, rows in zip(networks, x, strict=True)])


def _actor(generator: WeightGenerator, packing: Packing, x: Tensor) -> Tensor:
    return packing.pack(generator(packing.layout))(x)
