"""What every network that sees an input and a context has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hyperrl.errors import ConfigError, UnknownNameError, unknown_name
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.nets.dense import DenseLinear
from hyperrl.nets.target_init import sample_bias, sample_weight
from hyperrl.plain_policy import DenseLayer
from hyperrl.sb3.contexts.groups import Groups


@dataclass(frozen=True)
class NetConfig:
    """How a network that sees a context is built.

    Attributes:
        hidden: Hidden widths of the network that maps inputs to outputs.
        activation: Its hidden activation, a name of `hyperrl.nets.activations.ACTIVATIONS`.
        init: How it starts, a name of `hyperrl.nets.target_init.TARGET_INITS`.
        output_gain: Factor on the output layer's first weights.
        options: What the kind takes besides.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    init: str = "torch"
    output_gain: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_width(self, width: int) -> NetConfig:
        """Return the same with all hidden layers as wide.

        Args:
            width: The width.
        """
        return replace(self, hidden=(width,) * len(self.hidden))


class ContextNet(nn.Module, ABC):
    """Maps inputs ``[B, in]`` and contexts to outputs ``[B, out]``.

    What depends on contexts alone (`prepare`) is computed once for each distinct one, and can be kept while
    neither contexts nor parameters change. For one context the network is a plain one (`layers`).

    Args:
        input_dim: Size of an input.
        context_dim: Size of a context; at least 1.
        output_dim: Size of the output.
        side_dim: Further outputs, behind the others, that `layers` leaves out: the logarithm of the standard
            deviations of a SAC policy.
        config: The network.

    Attributes:
        sees_context: Whether the output depends on the context at all.
        needs_groups: Whether it is worth to find rows with the same context.
        generates_matrices: Whether whole matrices are generated for each context, too much for each row.
        options: Names of the options that the kind takes.

    Raises:
        UnknownNameError: An option or a name in the configuration is unknown.
        ConfigError: A value is wrong.
    """

    sees_context: ClassVar[bool] = True
    needs_groups: ClassVar[bool] = True
    generates_matrices: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, input_dim: int, context_dim: int, output_dim: int, config: NetConfig, side_dim: int = 0
    ) -> None:
        super().__init__()
        if config.activation not in ACTIVATIONS:
            raise unknown_name("activation", config.activation, ACTIVATIONS)
        for name in config.options:
            if name not in self.options:
                raise self._unknown_option(name)
        self.input_dim = input_dim
        self.context_dim = context_dim
        self.output_dim = output_dim
        self.side_dim = side_dim
        self.config = config

    @abstractmethod
    def prepare(self, contexts: Tensor) -> Any:
        """Compute what depends on contexts alone.

        Args:
            contexts: The distinct ones, ``[U, d]``.
        """

    @abstractmethod
    def apply_prepared(self, prepared: Any, x: Tensor, groups: Groups) -> Tensor:
        """Apply the network.

        Args:
            prepared: What `prepare` returned for the groups' contexts.
            x: ``[B, in]``.
            groups: Which row has which context.

        Returns:
            ``[B, out + side]``.
        """

    def acting(self, groups: Groups) -> Callable[[Tensor], Tensor]:
        """Return the network for rows in these contexts, prepared once to be applied many times.

        Args:
            groups: Which row has which context.

        Returns:
            A function from ``[B, in]`` to ``[B, out + side]``.
        """
        prepared = self.prepare(groups.contexts)
        return lambda x: self.apply_prepared(prepared, x, groups)

    @abstractmethod
    def layers(self, context: Tensor) -> list[DenseLayer]:
        """Return the plain layers that the network is in one context.

        Args:
            context: ``[d]``.
        """

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        """Apply the network to rows ``[B, in]`` in their contexts; returns ``[B, out + side]``."""
        return self.apply_prepared(self.prepare(groups.contexts), x, groups)

    @property
    def n_generated(self) -> int:
        """Numbers that are generated for each context."""
        return 0

    def _unknown_option(self, name: str) -> UnknownNameError | ConfigError:
        if not self.options:
            return ConfigError(f"{type(self).__name__} takes no options, got {name!r}")
        return unknown_name(f"option of {type(self).__name__}", name, self.options)


def dense(sizes: Iterable[int], init: str, last_gain: float = 1.0) -> nn.ModuleList:
    """Build dense layers.

    Args:
        sizes: From the input to the output.
        init: Their initialiser.
        last_gain: Factor on the last layer's first weights.
    """
    listed = list(sizes)
    layers = nn.ModuleList()
    for index in range(len(listed) - 1):
        layer = DenseLinear(listed[index], listed[index + 1])
        gain = last_gain if index == len(listed) - 2 else 1.0
        with torch.no_grad():
            sample_weight(layer.weight, init, gain, None)
            sample_bias(layer.bias, init, layer.in_features, gain, None)
        layers.append(layer)
    return layers


def listed_widths(name: str, given: Any) -> tuple[Any, ...]:
    """Return an option that is a list of widths; what builds layers of them checks each.

    Args:
        name: The option, for the message.
        given: Its value.

    Raises:
        ConfigError: It is no list.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{name} must be a list of widths, such as [64, 64], got {given!r}")
    return tuple(given)


def linear(layers: nn.ModuleList) -> list[nn.Linear]:
    """Return what `dense` built by its type."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def plain_layer(weight: Tensor, bias: Tensor, activation: str = "identity") -> DenseLayer:
    """Return tensors of any precision ``[out, in]`` and ``[out]`` as a plain layer."""
    return DenseLayer(weight.detach().cpu().numpy(), bias.detach().cpu().numpy(), activation)
