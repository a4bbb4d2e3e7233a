"""A space of multi-layer perceptrons: every architecture that one run is to yield a policy for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.ranges import whole

Architecture = tuple[int, ...]
"""The widths of the hidden layers, the one next to the input first."""

# Hegde et al., "HyperPPO: A scalable method for finding small policies for robotic control", ICRA 2024.
_PAPER_WIDTHS = (4, 8, 16, 32, 64, 128, 256)
_PAPER_DEPTHS = (1, 2, 3, 4)
# What two CPU cores can train: 155 architectures.
_CPU_WIDTHS = (4, 8, 16, 32, 64)
_CPU_DEPTHS = (1, 2, 3)
# More could neither be trained nor compared, and their table alone would fill the memory.
_MOST_ARCHITECTURES = 100_000


class ArchitectureSpace:
    """Architectures with one input and one output size, numbered from the smallest to the largest.

    Numbers are those of a stable sort by the number of parameters: architectures with as many keep the order
    in which they were given.

    Args:
        inputs: Size of the input.
        outputs: Size of the output.
        architectures: The widths of the hidden layers of each, all of them different.

    Attributes:
        inputs: As given.
        outputs: As given.
        architectures: All architectures, by number.

    Raises:
        ConfigError: A size or width is no whole number of at least 1, there is no architecture, one has no
            hidden layer, or one is there twice.
    """

    def __init__(self, inputs: int, outputs: int, architectures: Iterable[Sequence[int]]) -> None:
        self.inputs = int(whole(1, 1e6).check("inputs", inputs))
        self.outputs = int(whole(1, 1e6).check("outputs", outputs))
        given = [_checked(architecture) for architecture in architectures]
        if not given:
            raise ConfigError("a space of architectures needs at least one, for example [(16, 16)]")
        twice = len(given) - len(set(given))
        if twice:
            first = next(one for index, one in enumerate(given) if one in given[:index])
            raise ConfigError(
                f"the architectures of a space must be different, but {list(first)} is there twice"
            )
        self.architectures: tuple[Architecture, ...] = tuple(sorted(given, key=self.count_parameters))

    @classmethod
    def grid(
        cls, inputs: int, outputs: int, widths: Sequence[int], depths: Sequence[int]
    ) -> ArchitectureSpace:
        """Return the space of every sequence of some widths with some numbers of hidden layers.

        Args:
            inputs: Size of the input.
            outputs: Size of the output.
            widths: The widths that a layer may have.
            depths: The numbers of hidden layers that there may be.

        Raises:
            ConfigError: They are no lists of whole numbers, or make more architectures than a space can have.
        """
        for name, numbers in (("widths", widths), ("depths", depths)):
            if isinstance(numbers, str) or not isinstance(numbers, Sequence):
                raise ConfigError(f"{name} must be a list of whole numbers such as [1, 2], got {numbers!r}")
        sizes = [int(whole(1, 1e6).check("widths", width)) for width in widths]
        layers = [int(whole(1, 100).check("depths", depth)) for depth in depths]
        count = sum(len(sizes) ** depth for depth in layers)
        if count > _MOST_ARCHITECTURES:
            raise ConfigError(
                f"a space has at most {_MOST_ARCHITECTURES:,} architectures, and {len(sizes)} widths with up "
                f"to {max(layers)} hidden layers make more: give fewer widths or depths"
            )
        return cls(inputs, outputs, (one for depth in layers for one in product(sizes, repeat=depth)))

    @classmethod
    def paper(cls, inputs: int, outputs: int) -> ArchitectureSpace:
        """Return the 2,800 architectures of the publication: widths 4 to 256, one to four hidden layers."""
        return cls.grid(inputs, outputs, _PAPER_WIDTHS, _PAPER_DEPTHS)

    @classmethod
    def cpu(cls, inputs: int, outputs: int) -> ArchitectureSpace:
        """Return 155 architectures that a CPU can train: widths 4 to 64, one to three hidden layers."""
        return cls.grid(inputs, outputs, _CPU_WIDTHS, _CPU_DEPTHS)

    def __len__(self) -> int:
        return len(self.architectures)

    def __getitem__(self, index: int) -> Architecture:
        return self.architectures[index]

    def index(self, architecture: Sequence[int]) -> int:
        """Return an architecture's number.

        Args:
            architecture: The widths of its hidden layers.

        Raises:
            UnknownNameError: It is not in the space; the sentence has the one whose size is nearest.
        """
        wanted = _checked(architecture)
        if wanted in self._numbers:
            return self._numbers[wanted]
        size = self.count_parameters(wanted)
        # Of the same depth, if there is one.
        nearest = min(
            self.architectures,
            key=lambda one: (len(one) != len(wanted), abs(self.count_parameters(one) - size)),
        )
        raise UnknownNameError(
            f"the architecture {list(wanted)} is not one of the {len(self):,} of this space: "
            f"did you mean {list(nearest)}?"
        )

    def count_parameters(self, architecture: Sequence[int]) -> int:
        """Return the number of weights and biases of an architecture between this space's input and output.

        Args:
            architecture: The widths of its hidden layers.
        """
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in self._layers(architecture))

    def count_macs(self, architecture: Sequence[int]) -> int:
        """Return the number of multiply-accumulates of one forward pass.

        Args:
            architecture: The widths of its hidden layers.
        """
        return sum(fan_in * fan_out for fan_in, fan_out in self._layers(architecture))

    @cached_property
    def parameters(self) -> NDArray[np.int64]:
        """The number of parameters of each architecture, ``[N]``, ascending."""
        return np.array([self.count_parameters(one) for one in self.architectures], np.int64)

    @cached_property
    def depths(self) -> NDArray[np.int64]:
        """The number of hidden layers of each architecture, ``[N]``."""
        return np.array([len(one) for one in self.architectures], np.int64)

    def state(self) -> dict[str, Any]:
        """Return what `from_state` takes, as plain data."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "architectures": [list(one) for one in self.architectures],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ArchitectureSpace:
        """Build the space that a state describes.

        Args:
            state: What `state` returned.
        """
        return cls(state["inputs"], state["outputs"], state["architectures"])

    @cached_property
    def _numbers(self) -> dict[Architecture, int]:
        return {architecture: number for number, architecture in enumerate(self.architectures)}

    def _layers(self, architecture: Sequence[int]) -> list[tuple[int, int]]:
        return list(pairwise((self.inputs, *architecture, self.outputs)))


def _checked(architecture: Sequence[int]) -> Architecture:
    if isinstance(architecture, str) or not isinstance(architecture, Sequence) or not architecture:
        raise ConfigError(
            f"an architecture must be the widths of its hidden layers, at least one, such as [16, 16], got "
            f"{architecture!r}"
        )
    return tuple(int(whole(1, 1e6).check("a width", width)) for width in architecture)
