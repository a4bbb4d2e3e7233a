"""Which small networks are multiplied together, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hyperrl.errors import ConfigError
from hyperrl.nets.architectures.space import Architecture


@dataclass(frozen=True)
class Group:
    """Networks that are multiplied together.

    Attributes:
        members: Their places in the layout, ``[g]``.
        widths: The hidden widths that all of them are padded to.
    """

    members: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class _Cost:
    """Microseconds of one thread, fitted to what `hyperrl bench architectures` measured.

    Attributes:
        group: For each group of networks.
        layer: For each layer of each group.
        weight: For each padded weight.
        product: For each multiplication of a padded weight and a row.
    """

    group: float
    layer: float
    weight: float
    product: float

    def __call__(self, groups: Sequence[Group], rows: int) -> float:
        layers = [list(pairwise((_INPUTS, *group.widths, _OUTPUTS))) for group in groups]
        weights = sum(
            len(group.members) * sum(fan_in * fan_out for fan_in, fan_out in sizes)
            for group, sizes in zip(groups, layers, strict=True)
        )
        calls = self.group * len(groups) + self.layer * sum(len(sizes) for sizes in layers)
        return calls + weights * (self.weight + self.product * rows)


# Of networks in general: what is chosen hardly depends on them.
_INPUTS, _OUTPUTS = 16, 4
# One network after the other is not copied, and each is multiplied at its own size; but there are many calls.
_ACTING = {"single": _Cost(0, 4.9, 0, 36e-6), "batched": _Cost(17, 0, 0.25e-3, 34e-6)}
_TRAINING = {"single": _Cost(0, 40, 0, 129e-6), "batched": _Cost(5, 47, 4.4e-3, 111e-6)}


def kernel_for(architectures: Sequence[Architecture], rows: int, training: bool = False) -> str:
    """Return the kernel that is usually the fastest on a CPU, by what `hyperrl bench architectures` measured.

    It depends on nothing but its arguments, so that a seed gives the same training on every day.

    Args:
        architectures: The hidden widths of each network.
        rows: Rows of each network's input.
        training: Whether weights are packed for every application and gradients are worked out too.

    Raises:
        ConfigError: There is no network.
    """
    if not architectures:
        raise ConfigError("there is no network to apply")
    costs = _TRAINING if training else _ACTING

    def cost(kernel: str) -> float:
        return costs["single" if kernel == "loop" else "batched"](GROUPINGS[kernel](architectures), rows)

    return min(KERNELS, key=cost)


def _one_group(architectures: Sequence[Architecture]) -> list[Group]:
    return [_padded(range(len(architectures)), architectures)]


def _by_shape(architectures: Sequence[Architecture]) -> list[Group]:
    buckets: dict[tuple[int, int], list[int]] = {}
    for place, architecture in enumerate(architectures):
        buckets.setdefault((len(architecture), max(architecture)), []).append(place)
    return [_padded(members, architectures) for _, members in sorted(buckets.items())]


def _one_by_one(architectures: Sequence[Architecture]) -> list[Group]:
    return [Group((place,), tuple(architecture)) for place, architecture in enumerate(architectures)]


def _padded(members: Sequence[int], architectures: Sequence[Architecture]) -> Group:
    """Make a group whose hidden layers have the largest width of its networks at that place or before.

    A network that ends earlier hands its last hidden layer on, so the width must hold that too.
    """
    depth = max(len(architectures[member]) for member in members)
    widths = [
        max(architectures[member][min(place, len(architectures[member]) - 1)] for member in members)
        for place in range(depth)
    ]
    return Group(tuple(members), tuple(widths))


GROUPINGS: dict[str, Callable[[Sequence[Architecture]], list[Group]]] = {
    "padded": _one_group,
    "buckets": _by_shape,
    "loop": _one_by_one,
}
"""How each kernel groups networks."""
KERNELS = tuple(GROUPINGS)
"""The ways of applying packed networks."""
