"""Random numbers of several seeds at once: each seed's are the same whichever others are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperrl.errors import CheckpointError

# Branches of a seed: a new use of random numbers takes a new one and changes no other's.
_ACTING, _UPDATES = 0, 1
_BLOCK = 64


class ActingStreams:
    """What the seeds draw on the CPU while they act.

    Args:
        seeds: The seeds.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_ACTING,))))
            for seed in seeds
        ]

    def normal(self, rows: int, columns: int) -> NDArray[np.float32]:
        """Return standard normal numbers ``[S, rows, columns]``."""
        drawn = [each.standard_normal((rows, columns), dtype=np.float32) for each in self._generators]
        return np.stack(drawn)

    def uniform(self, rows: int, columns: int) -> NDArray[np.float32]:
        """Return numbers from [-1, 1), ``[S, rows, columns]``."""
        drawn = [each.random((rows, columns), dtype=np.float32) for each in self._generators]
        return 2 * np.stack(drawn) - 1

    def state(self) -> list[str]:
        """Return the generators' states as plain data: JSON, whose numbers may be of 128 bits."""
        return [json.dumps(each.bit_generator.state) for each in self._generators]

    def restore(self, state: Sequence[str]) -> None:
        """Continue from a state.

        Args:
            state: What `state` returned.
        """
        for each, saved in zip(self._generators, state, strict=True):
            each.bit_generator.state = json.loads(saved)


class UpdateStreams:
    """What the seeds draw where the networks are: which transitions to learn from, and noise.

    Numbers are drawn for many updates at once, into tensors that stay where they are, so that a recorded
    graph can read them: update after update, `tensors()["counter"]` says whose turn it is.

    Args:
        seeds: The seeds.
        batch_size: Transitions per update, B.
        noise: Standard deviations of normal numbers ``[B, A]`` per update, by name.
        action_size: A.
        device: Where the tensors lie.

    Attributes:
        seeds: How many seeds there are.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        batch_size: int,
        noise: Mapping[str, float],
        action_size: int,
        device: torch.device,
    ) -> None:
        self.seeds = len(seeds)
        self._noise = dict(noise)
        self._generators = [torch.Generator(device) for _ in seeds]
        for generator, seed in zip(self._generators, seeds, strict=True):
            sequence = np.random.SeedSequence(seed, spawn_key=(_UPDATES,))
            generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        shape = (_BLOCK, len(seeds), batch_size)
        # In float32 not every row of a large buffer could be hit.
        self._places = torch.zeros(shape, dtype=torch.float64, device=device)
        self._normal = {name: torch.zeros(*shape, action_size, device=device) for name in noise}
        self._counter = torch.zeros((), dtype=torch.int64, device=device)
        self._used = _BLOCK
        self._before = self._states()

    def tensors(self) -> dict[str, Any]:
        """Return the tensors that a graph reads.

        Returns:
            ``counter []``, which the graph has to increase by one; ``places [K, S, B]`` in [0, 1); and
            ``noise`` by name, ``[K, S, B, A]``.
        """
        return {"counter": self._counter, "places": self._places, "noise": self._normal}

    def next(self) -> None:
        """Make sure that there are numbers for another update; call it before each one."""
        if self._used == _BLOCK:
            self._before = self._states()
            self._draw()
            self._counter.zero_()
            self._used = 0
        self._used += 1

    def state(self) -> dict[str, Any]:
        """Return where the streams are, as plain data."""
        return {"used": self._used, "generators": [state.clone() for state in self._before]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state: What `state` returned.

        Raises:
            CheckpointError: It comes from another kind of device.
        """
        if [len(saved) for saved in state["generators"]] != [len(own) for own in self._before]:
            raise CheckpointError(
                "the checkpoint's random numbers were drawn on another kind of device than "
                f"{self._counter.device}: resume the run on the device that it was trained on"
            )
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.set_state(saved.cpu())
        self._before = self._states()
        self._used = int(state["used"])
        if self._used < _BLOCK:
            self._draw()
        self._counter.fill_(self._used % _BLOCK)

    def _states(self) -> list[Tensor]:
        return [generator.get_state() for generator in self._generators]

    def _draw(self) -> None:
        for index, generator in enumerate(self._generators):
            self._places[:, index].copy_(_drawn(torch.rand, self._places[:, index], generator))
            for name, deviation in self._noise.items():
                part = self._normal[name][:, index]
                part.copy_(_drawn(torch.randn, part, generator) * deviation)


def _drawn(draw: Any, like: Tensor, generator: torch.Generator) -> Tensor:
    drawn: Tensor = draw(like.shape, dtype=like.dtype, device=like.device, generator=generator)
    return drawn
