"""Gaussian policies of many tasks at once, as functions of parameters that may differ from task to task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.nets import Generated, TargetMLP
from hyperrl_agents.hyper_maml.networks import GeneratedNetwork, TaskNetwork

ADAPTS = ("all", "heads", "context", "coefficients", "generated")
"""What gradient steps in a task change. `all`: every parameter, trunk, heads and standard deviation (as
published). `heads`: those of the hypernetwork. `context`: what is seen of the context. `coefficients`: those
by which a modular hypernetwork mixes its templates. `generated`: the generated weights."""

Parameters = Mapping[str, Tensor]

CONDITION, SHIFT, GENERATED, LOG_STD = "condition", "coefficients", "generated", "log_std"
_LOWEST = math.log(1e-6)
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_NETWORK, _HEADS = "network.", "network.hyper.head."


class Gaussian(NamedTuple):
    """Independent normal distributions of actions.

    Attributes:
        mean: ``[T, B, A]``.
        log_std: ``[T or 1, 1, A]``.
    """

    mean: Tensor
    log_std: Tensor

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log-densities ``[T, B]`` of actions ``[T, B, A]``."""
        scaled = (actions - self.mean) * (-self.log_std).exp()
        return -(0.5 * scaled.square() + self.log_std + _HALF_LOG_TWO_PI).sum(-1)

    def detach(self) -> Gaussian:
        """Return the same distributions, cut off from the graph."""
        return Gaussian(self.mean.detach(), self.log_std.detach())


class TaskWeights(NamedTuple):
    """What acting in T tasks needs.

    Attributes:
        weights: Flat weights of each policy, ``[T, P]``.
        log_std: ``[T, A]``.
        conditions: What is seen of each context, ``[T, d]``.
    """

    weights: Tensor
    log_std: Tensor
    conditions: Tensor

    def detach(self) -> TaskWeights:
        """Return the same, cut off from the graph."""
        return TaskWeights(*(part.detach() for part in self))


class TaskActor(nn.Module):
    """A network and a standard deviation that is the same in all states.

    Args:
        network: The network.
        actions: Numbers of an action A.
        log_std_init: Where the logarithm of the standard deviation starts.
    """

    def __init__(self, network: TaskNetwork, actions: int, log_std_init: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.log_std = nn.Parameter(torch.full((actions,), float(log_std_init)))
        self.target = TargetMLP(network.spec)

    def by_name(self) -> dict[str, Tensor]:
        """Return the parameters."""
        return dict(self.named_parameters())

    def check_adapts(self, adapt: str) -> None:
        """Refuse to adapt what is not there.

        Args:
            adapt: One of `ADAPTS`.

        Raises:
            UnknownNameError: It is none.
            ConfigError: This actor has no such part.
        """
        if adapt not in ADAPTS:
            raise unknown_name("adapt", str(adapt), ADAPTS)
        generates = isinstance(self.network, GeneratedNetwork)
        if adapt == "coefficients" and self._coefficients() is None:
            raise ConfigError(
                "adapt='coefficients' is for the actor 'hyper' with the hypernet 'modular', which mixes "
                "templates: use another adapt, or that hypernet"
            )
        if adapt in ("heads", "generated") and not generates:
            raise ConfigError(f"adapt={adapt!r} is for the actor 'hyper': use adapt='all'")
        if adapt == "context" and not self.network.sees_context:
            raise ConfigError("adapt='context' needs an actor that sees the context: use adapt='all'")

    def start(self, parameters: Parameters, conditions: Tensor, adapt: str) -> dict[str, Tensor]:
        """Return what is adapted, before the first step: each tensor with a first dimension of T.

        Args:
            parameters: As `by_name` has them.
            conditions: ``[T, d]``.
            adapt: One of `ADAPTS`.
        """
        if adapt == "context":
            return {CONDITION: conditions.detach().clone().requires_grad_()}
        if adapt == "coefficients":
            sizes = self._coefficients()
            assert sizes is not None
            return {SHIFT: conditions.new_zeros(len(conditions), *sizes).requires_grad_()}
        if adapt == "generated":
            return {GENERATED: self._generate(parameters, {}, conditions)}
        return {
            name: value.expand(len(conditions), *value.shape)
            for name, value in parameters.items()
            if adapt == "all" or name.startswith(_HEADS)
        }

    def task_weights(self, parameters: Parameters, adapted: Parameters, conditions: Tensor) -> TaskWeights:
        """Return the policies of T tasks; each one's weights are generated once.

        Args:
            parameters: As `by_name` has them.
            adapted: What is the task's own instead, as `start` has it.
            conditions: ``[T, d]``.
        """
        conditions = adapted.get(CONDITION, conditions)
        weights = adapted.get(GENERATED)
        if weights is None:
            weights = self._generate(parameters, adapted, conditions)
        log_std = adapted.get(LOG_STD, parameters[LOG_STD]).clamp_min(_LOWEST)
        return TaskWeights(weights, log_std.expand(len(conditions), -1), conditions)

    def gaussian(self, tasks: TaskWeights, states: Tensor) -> Gaussian:
        """Return the distributions of actions.

        Args:
            tasks: The policies of T tasks.
            states: States of each, ``[T, B, S]``.
        """
        generated = Generated.from_flat(self.network.spec, tasks.weights)
        return Gaussian(self.mean(generated, tasks.conditions, states), tasks.log_std.unsqueeze(1))

    def mean(self, generated: Generated, conditions: Tensor, states: Tensor) -> Tensor:
        """Return mean actions ``[T, B, A]``, see `gaussian`."""
        if self.network.joins_context:
            rows = conditions.unsqueeze(1).expand(-1, states.shape[1], -1)
            states = torch.cat([states, rows], dim=-1)
        return self.target(generated, states)

    def _generate(self, parameters: Parameters, adapted: Parameters, conditions: Tensor) -> Tensor:
        """Return flat weights ``[T, P]``."""
        names = [name for name in parameters if name.startswith(_NETWORK)]
        own = {name.removeprefix(_NETWORK): adapted.get(name, parameters[name]) for name in names}
        stacked = {name.removeprefix(_NETWORK): 0 if name in adapted else None for name in names}

        def generate(values: dict[str, Tensor], condition: Tensor) -> Tensor:
            weights: Tensor = functional_call(self.network, values, (condition,))
            return weights

        if SHIFT in adapted:
            return functional_call(self.network, own, (conditions, adapted[SHIFT]))  # type: ignore[no-any-return]
        if not any(dim == 0 for dim in stacked.values()):
            return generate(own, conditions)
        weights: Tensor = vmap(generate, in_dims=(stacked, 0))(own, conditions)
        return weights

    def _coefficients(self) -> tuple[int, int] | None:
        """Return the sizes of the mixing coefficients, None where nothing is mixed."""
        return self.network.coefficients if isinstance(self.network, GeneratedNetwork) else None
