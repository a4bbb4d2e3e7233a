"""Which architectures are trained next: seeded draws without replacement that can be saved and continued."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets.architectures.space import ArchitectureSpace
from hyperrl.ranges import whole

_Numbers = NDArray[np.int64]


class ArchitectureSampler:
    """Draws the architectures of one iteration after the other, never one twice in a draw.

    - ``"biased"``: the depth is drawn uniformly, then an architecture of that depth, as HyperPPO does
      (Hegde et al., ICRA 2024). Without replacement the few shallow ones are used up first, so that in large
      draws their share is less than that of their depth.
    - ``"uniform"``: all alike.
    - ``"sequential"``: each once, in a random order, before any comes again.
    - ``"sandwich"``: the smallest, the largest, and others drawn uniformly (Yu & Huang, ICCV 2019).

    Args:
        space: The space.
        count: Architectures in a draw.
        kind: One of `SAMPLERS`.
        seed: Seed of the draws.

    Attributes:
        count: As given.
        kind: As given.
        visits: How often each architecture was drawn, ``[N]``.

    Raises:
        UnknownNameError: There is no such kind.
        ConfigError: The count is not from 1 to the size of the space, or less than 2 for "sandwich".
    """

    def __init__(self, space: ArchitectureSpace, count: int, kind: str = "biased", seed: int = 0) -> None:
        if kind not in SAMPLERS:
            raise unknown_name("sampler of architectures", kind, SAMPLERS)
        self.count = int(whole(1).check("the number of architectures in a draw", count))
        if self.count > len(space):
            raise ConfigError(
                f"a draw of {self.count} architectures without replacement needs as many, but the space has "
                f"{len(space)}"
            )
        if kind == "sandwich" and self.count < 2 <= len(space):
            raise ConfigError(
                "the sampler 'sandwich' draws the smallest and the largest: the count is at least 2"
            )
        self.kind = kind
        self._space = space
        self._generator = np.random.default_rng(int(whole(0, 2**32 - 1).check("seed", seed)))
        # What is left of the order of "sequential".
        self._order: _Numbers = np.zeros(0, np.int64)
        self.visits: _Numbers = np.zeros(len(space), np.int64)

    def draw(self) -> _Numbers:
        """Return the numbers of the next architectures, ``[count]``, all different."""
        numbers = SAMPLERS[self.kind](self)
        self.visits[numbers] += 1
        return numbers

    def probabilities(self) -> NDArray[np.float64]:
        """Return the probability of each architecture in the first place of a draw, ``[N]``."""
        size = len(self._space)
        if self.kind != "biased":
            return np.full(size, 1 / size)
        _, depth, counts = np.unique(self._space.depths, return_inverse=True, return_counts=True)
        return 1.0 / (len(counts) * counts[depth])

    def state(self) -> dict[str, Any]:
        """Return where the draws are, as plain data."""
        generator = json.dumps(self._generator.bit_generator.state)
        return {
            "kind": self.kind,
            "generator": generator,
            "order": self._order.tolist(),
            "visits": self.visits.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state: What `state` returned.

        Raises:
            ConfigError: It is that of another kind of sampler.
        """
        if state["kind"] != self.kind:
            raise ConfigError(
                f"the state is that of a sampler {state['kind']!r}, and this one is {self.kind!r}"
            )
        self._generator.bit_generator.state = json.loads(state["generator"])
        self._order = np.array(state["order"], np.int64)
        self.visits = np.array(state["visits"], np.int64)

    def _weighted(self) -> _Numbers:
        weights = self.probabilities()
        return self._generator.choice(len(self._space), self.count, replace=False, p=weights)

    def _next(self) -> _Numbers:
        drawn: list[int] = []
        while len(drawn) < self.count:
            if not len(self._order):
                order = self._generator.permutation(len(self._space))
                # What this draw has already comes later in the new order.
                taken = np.isin(order, drawn)
                self._order = np.concatenate([order[~taken], order[taken]])
            wanted = self.count - len(drawn)
            drawn += self._order[:wanted].tolist()
            self._order = self._order[wanted:]
        return np.array(drawn, np.int64)

    def _sandwich(self) -> _Numbers:
        last = len(self._space) - 1
        if last == 0:
            return np.zeros(1, np.int64)
        between = 1 + self._generator.permutation(last - 1)[: self.count - 2]
        return np.concatenate([[0, last], between]).astype(np.int64)


SAMPLERS: dict[str, Callable[[ArchitectureSampler], _Numbers]] = {
    "biased": ArchitectureSampler._weighted,
    "uniform": ArchitectureSampler._weighted,
    "sequential": ArchitectureSampler._next,
    "sandwich": ArchitectureSampler._sandwich,
}
"""How each kind draws."""
