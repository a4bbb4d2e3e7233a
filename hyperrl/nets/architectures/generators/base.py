"""What generates the weights of many architectures, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.nets.architectures.layout import Layout
from hyperrl.nets.architectures.space import ArchitectureSpace


class WeightGenerator(nn.Module):
    """A hypernetwork whose condition is an architecture: it generates all weights of any in its space.

    A subclass implements `forward`. It is built with the space and its own options as keyword arguments.

    Args:
        space: The architectures.
    """

    def __init__(self, space: ArchitectureSpace) -> None:
        super().__init__()
        self.space = space

    def __call__(self, layout: Layout) -> Tensor:
        """Generate the weights of several architectures; see `forward`.

        Args:
            layout: The architectures.

        Raises:
            ConfigError: They are of another space.
        """
        space = layout.space
        if space is not self.space and _contents(space) != _contents(self.space):
            raise ConfigError(
                f"these architectures are of a space with {_described(space)}, and this generator is for one "
                f"with {_described(self.space)}"
            )
        weights: Tensor = super().__call__(layout)
        return weights

    def forward(self, layout: Layout) -> Tensor:
        """Generate the weights of several architectures.

        Args:
            layout: The architectures.

        Returns:
            Their weights and biases ``[layout.total]`` in the order of the layout.
        """
        raise NotImplementedError

    def generate(self, architecture: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Generate one network.

        Args:
            architecture: The widths of its hidden layers.

        Returns:
            For each layer the weight ``[out, in]`` and the bias ``[out]``.

        Raises:
            UnknownNameError: The architecture is not in the space.
        """
        layout = Layout(self.space, [self.space.index(architecture)])
        return layout.split(self(layout))[0]

    def n_params(self) -> int:
        """Number of trainable parameters of the generator."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @property
    def device(self) -> torch.device:
        """Where the weights are generated."""
        return next(self.parameters()).device


def _contents(space: ArchitectureSpace) -> tuple[object, ...]:
    return space.inputs, space.outputs, space.architectures


def _described(space: ArchitectureSpace) -> str:
    return f"{space.inputs} inputs, {space.outputs} outputs and {len(space):,} architectures"
