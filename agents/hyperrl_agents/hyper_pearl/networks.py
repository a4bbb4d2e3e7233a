"""Policy and value functions of a task: generated ones, and the plain ones that they are compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hyperrl.errors import unknown_name
from hyperrl.nets import Generated, HyperNet, TargetMLP, TargetSpec
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.kinds.linear import LinearKind
from hyperrl.sb3.meta.choices import NetworkChoice, choose
from hyperrl_agents.hyper_pearl.encoder import DenseNet

NETWORKS = ("hyper", "mlp")
"""`hyper`: generated networks. `mlp`: plain networks of state and latent together, as in PEARL itself."""

# Their heads start with the published constants; what combines fewer features starts as a plain network.
_PUBLISHED_HEADS = ("mlp", "linear")

PUBLISHED_PRIMARY = (256, 512, 1024)
FAST_PRIMARY = (64, 128, 256)

LOG_STD_RANGE = (-20.0, 2.0)
_LAST_OF_POLICY = 1e-3
# What the head of log-standard deviations starts with, as a share of the other output's.
_LOG_STD_HEAD = 0.001 / 0.008

Gaussians = tuple[Tensor, Tensor]
ActIn = Callable[[Tensor, Tensor], Gaussians]
"""From numbers of tasks ``[n]`` and states ``[n, S]`` to means and log-standard deviations ``[n, A]``."""


@dataclass(frozen=True)
class Shape:
    """What decides the networks.

    Attributes:
        state: Numbers of a state S.
        action: Numbers of an action A.
        latent: Numbers of what stands for the task C.
        kind: One of `NETWORKS`.
        hidden: Hidden widths of policy and value functions; those that are generated, for "hyper".
        primary: Widths of the residual primary networks, for "hyper".
        blocks: Residual blocks per width.
        hypernet: Kind of the hypernetworks, for "hyper"; those without a trunk have no primary network.
        options: That kind's own options, such as ``modules``.

    Raises:
        UnknownNameError: There is no such kind.
    """

    state: int
    action: int
    latent: int
    kind: str = "hyper"
    hidden: tuple[int, ...] = (256,)
    primary: tuple[int, ...] = FAST_PRIMARY
    blocks: int = 2
    hypernet: str = "mlp"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown kinds."""
        if self.kind not in NETWORKS:
            raise unknown_name("kind of networks", str(self.kind), NETWORKS)

    def hyper(self, condition: int, inputs: int, outputs: int) -> HyperNet:
        """Return a hypernetwork, with the published constants where its heads have as many features.

        Args:
            condition: Numbers that go into the primary network.
            inputs: Numbers that go into the generated one.
            outputs: Numbers that come out.
        """
        spec = TargetSpec.mlp(inputs, self.hidden, outputs, gain=True)
        trunk: dict[str, Any] = {}
        if resolve_kind(self.hypernet).takes_trunk:
            trunk = {"trunk": "residual", "hidden": self.primary, "blocks": self.blocks}
        init = "hyperl" if self.hypernet in _PUBLISHED_HEADS else "bias_hyper"
        return HyperNet(spec, condition, self.hypernet, init=init, **trunk, **self.options)


def chosen_networks(given: str | Mapping[str, Any]) -> NetworkChoice:
    """Return which networks they are.

    Args:
        given: One of `NETWORKS`, or a table with ``kind`` and, for "hyper", ``hypernet`` ("mlp") and options
            of that kind.

    Raises:
        UnknownNameError: There is no such kind, hypernetwork or option.
        ConfigError: It is neither name nor table, or the hypernetwork cannot be one.
    """
    return choose("networks", given, {name: () for name in NETWORKS}, "mlp")


class TaskPolicy(nn.Module, ABC):
    """A Gaussian before the tanh, of a state in a task.

    Args:
        shape: The sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def forward(self, latents: Tensor, states: Tensor) -> Gaussians:
        """Mean and log-standard deviation ``[T, b, A]`` for latents ``[T, C]`` and states ``[T, b, S]``."""

    @abstractmethod
    def act_in(self, latents: Tensor) -> ActIn:
        """Return what acts in tasks with latents ``[T, C]``; nothing is generated again while it acts."""

    @abstractmethod
    def layers(self, latent: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights ``[out, in]`` and biases ``[out]`` of the mean's network in the task of latent ``[C]``."""

    def _gaussians(self, outputs: Tensor) -> Gaussians:
        mean, log_std = outputs.chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD_RANGE)


class HyperPolicy(TaskPolicy):
    """A policy of the state, generated from the latent once for each task.

    Mean and log-standard deviation come from one generated layer of twice the width, which is the same as two
    beside each other.

    Args:
        shape: The sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.hyper = shape.hyper(shape.latent, shape.state, 2 * shape.action)
        self._target = TargetMLP(self.hyper.spec)
        self._shrink_log_std_head()

    @torch.no_grad()
    def _shrink_log_std_head(self) -> None:
        """Begin the part of the last published head that log-standard deviations come from as U(±0.001)."""
        head, spec, actions = self.hyper.head, self.hyper.spec, self.shape.action
        if not isinstance(head, LinearKind):
            return
        head.banks[-1][..., actions:] *= _LOG_STD_HEAD
        for name in (spec.layers[-1].bias, spec.layers[-1].gain):
            own = spec.vector_slices[str(name)]
            head.vector_bank[:, own.start + actions : own.stop] *= _LOG_STD_HEAD

    def forward(self, latents: Tensor, states: Tensor) -> Gaussians:
        """Mean and log-standard deviation ``[T, b, A]`` for latents ``[T, C]`` and states ``[T, b, S]``."""
        return self._gaussians(self._target(self.hyper(latents), states))

    def act_in(self, latents: Tensor) -> ActIn:
        """Return what acts in tasks with latents ``[T, C]``; weights are formed once for each task."""
        with torch.no_grad():
            generated = Generated.from_flat(self.hyper.spec, self.hyper(latents).materialise())

        def act(tasks: Tensor, states: Tensor) -> Gaussians:
            return self._gaussians(self._target(generated.index(tasks), states))

        return act

    def layers(self, latent: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights ``[out, in]`` and biases ``[out]`` of the mean's network in the task of latent ``[C]``."""
        named = self.hyper(latent).as_dict()
        dense = [
            (named[layer.weight] * named[str(layer.gain)].unsqueeze(-1), named[str(layer.bias)])
            for layer in self.hyper.spec.layers
        ]
        weight, bias = dense[-1]
        return [*dense[:-1], (weight[: self.shape.action], bias[: self.shape.action])]


class PlainTaskPolicy(TaskPolicy):
    """PEARL's policy: a plain network of state and latent together.

    Args:
        shape: The sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        sizes = (shape.state + shape.latent, *shape.hidden, 2 * shape.action)
        self.net = DenseNet(sizes, _LAST_OF_POLICY)

    def forward(self, latents: Tensor, states: Tensor) -> Gaussians:
        """Mean and log-standard deviation ``[T, b, A]`` for latents ``[T, C]`` and states ``[T, b, S]``."""
        repeated = latents.unsqueeze(-2).expand(*states.shape[:-1], -1)
        return self._gaussians(self.net(torch.cat([states, repeated], dim=-1)))

    def act_in(self, latents: Tensor) -> ActIn:
        """Return what acts in tasks with latents ``[T, C]``."""

        def act(tasks: Tensor, states: Tensor) -> Gaussians:
            return self._gaussians(self.net(torch.cat([states, latents[tasks]], dim=-1)))

        return act

    def layers(self, latent: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights ``[out, in]`` and biases ``[out]`` of the mean's network in the task of latent ``[C]``."""
        dense: list[tuple[Tensor, Tensor]] = [(layer.weight, layer.bias) for layer in self.net.dense]
        states, actions = self.shape.state, self.shape.action
        first, bias = dense[0]
        # The latent is the same for all states: it moves the first layer's bias.
        dense[0] = (first[:, :states], bias + first[:, states:] @ latent)
        weight, bias = dense[-1]
        return [*dense[:-1], (weight[:actions], bias[:actions])]


class Value(nn.Module, ABC):
    """A number for a state and whatever else it depends on: latent, action."""

    def forward(self, states: Tensor, inputs: Tensor, *, trains: bool = True) -> Tensor:
        """Values ``[T, b]``.

        Args:
            states: ``[T, b, S]``.
            inputs: What else it depends on, ``[T, b, X]``.
            trains: Whether gradients reach the parameters; those with respect to `inputs` are the same.
        """
        values = self._values(states.flatten(0, 1), inputs.flatten(0, 1), trains)
        return values.view(states.shape[:2])

    @abstractmethod
    def _values(self, states: Tensor, inputs: Tensor, trains: bool) -> Tensor:
        """Values ``[B, 1]`` of rows ``[B, S]`` and ``[B, X]``."""


class HyperValue(Value):
    """A value function of latent (and action), generated from the state.

    Args:
        shape: The sizes.
        inputs: Numbers of latent (and action) X.
    """

    def __init__(self, shape: Shape, inputs: int) -> None:
        super().__init__()
        self.hyper = shape.hyper(shape.state, inputs, 1)
        self._target = TargetMLP(self.hyper.spec)

    def _values(self, states: Tensor, inputs: Tensor, trains: bool) -> Tensor:
        if trains:
            return self._target(self.hyper(states), inputs)
        with torch.no_grad():
            generated = self.hyper(states)
        # Parameters that all states share are part of what is generated, and still want gradients.
        return self._target(generated.detach(), inputs)


class PlainValue(Value):
    """PEARL's value function: a plain network of everything together.

    Args:
        shape: The sizes.
        inputs: Numbers of latent (and action) X.
    """

    def __init__(self, shape: Shape, inputs: int) -> None:
        super().__init__()
        self.net = DenseNet((shape.state + inputs, *shape.hidden, 1))

    def _values(self, states: Tensor, inputs: Tensor, trains: bool) -> Tensor:
        rows = torch.cat([states, inputs], dim=-1)
        constants = {} if trains else {name: value.detach() for name, value in self.net.named_parameters()}
        values: Tensor = functional_call(self.net, constants, (rows,))
        return values


def make_policy(shape: Shape) -> TaskPolicy:
    """Return a policy of tasks.

    Args:
        shape: The sizes.
    """
    return HyperPolicy(shape) if shape.kind == "hyper" else PlainTaskPolicy(shape)


def make_q(shape: Shape) -> Value:
    """Return a Q-function; what it depends on besides the state is the action, then the latent.

    Args:
        shape: The sizes.
    """
    kind = HyperValue if shape.kind == "hyper" else PlainValue
    return kind(shape, shape.action + shape.latent)


def make_v(shape: Shape) -> Value:
    """Return a V-function; what it depends on besides the state is the latent.

    Args:
        shape: The sizes.
    """
    kind = HyperValue if shape.kind == "hyper" else PlainValue
    return kind(shape, shape.latent)
