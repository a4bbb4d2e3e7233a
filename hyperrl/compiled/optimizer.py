"""Adam and Polyak averaging on bare tensors, in the state that torch's own optimiser keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from hyperrl.compiled.modules import Tensors
from hyperrl.errors import ConfigError

_NOT_SUPPORTED = ("amsgrad", "maximize", "differentiable", "capturable", "decoupled_weight_decay")


@dataclass(frozen=True)
class AdamState:
    """What one optimiser keeps, as tensors that are shared with the optimiser itself.

    Attributes:
        moments: First moments by parameter, the shape of the parameter.
        squares: Second moments by parameter, the shape of the parameter.
        steps: The optimiser's own counts of steps so far, one scalar for each parameter.
        learning_rate: The learning rate, ``[]``; `refresh` reads it from the optimiser.
        counted: The first of the counts, where the parameters are: optimisers may keep theirs on the CPU.
        betas: Decay of both moments.
        eps: The denominator's addend.
        weight_decay: Factor of the parameter that is added to its gradient.
    """

    moments: Tensors
    squares: Tensors
    steps: list[Tensor]
    learning_rate: Tensor
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    counted: Tensor

    @classmethod
    def of(cls, optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> AdamState:
        """Share an optimiser's state; one that has not stepped yet gets the state that it would begin with.

        Args:
            optimizer: The optimiser.
            parameters: All of its parameters by name.

        Raises:
            ConfigError: The optimiser is not plain Adam with one group of parameters.
        """
        refused = why_not(optimizer)
        if refused:
            raise ConfigError(refused)
        group = optimizer.param_groups[0]
        for parameter in parameters.values():
            if not optimizer.state[parameter]:
                optimizer.state[parameter] = _initial(parameter, fused=bool(group["fused"]))
        states = {name: optimizer.state[parameter] for name, parameter in parameters.items()}
        steps = [state["step"] for state in states.values()]
        first = next(iter(parameters.values()))
        return cls(
            moments={name: state["exp_avg"] for name, state in states.items()},
            squares={name: state["exp_avg_sq"] for name, state in states.items()},
            steps=steps,
            learning_rate=torch.full((), float(group["lr"]), device=first.device),
            betas=group["betas"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            counted=steps[0].to(first.device),
        )

    def refresh(self, optimizer: Optimizer) -> None:
        """Take over the learning rate that the optimiser has now, and its count of steps."""
        self.learning_rate.fill_(float(optimizer.param_groups[0]["lr"]))
        if self.counted is not self.steps[0]:
            # Reading a number on the CPU and writing one on the GPU waits for nothing.
            self.counted.fill_(self.steps[0].item())

    def count(self) -> None:
        """Tell the optimiser that a step was made; `adam_step` only reads the counts."""
        torch._foreach_add_(self.steps, 1)
        if self.counted is not self.steps[0]:
            self.counted.add_(1)

    def step(
        self,
        parameters: Tensors,
        gradients: Mapping[str, Tensor],
        tensors: tuple[Tensors, Tensors, Tensor, Tensor],
    ) -> None:
        """Make a step of Adam with this state's constants, see `adam_step`.

        Args:
            parameters: The parameters, which change.
            gradients: Their gradients, by the same names.
            tensors: What `tensors` returned, or what stands for it while a graph is traced.
        """
        adam_step(parameters, gradients, tensors, self.betas, self.eps, self.weight_decay)

    def tensors(self) -> tuple[Tensors, Tensors, Tensor, Tensor]:
        """Return what `adam_step` needs beside parameters and gradients."""
        return self.moments, self.squares, self.counted, self.learning_rate


def why_not(optimizer: Optimizer) -> str | None:
    """Say why an optimiser's steps cannot be compiled, or None.

    Args:
        optimizer: Any optimiser.
    """
    name = type(optimizer).__name__
    if type(optimizer) is not Adam:
        return f"compiled updates need torch.optim.Adam, got {name}"
    if len(optimizer.param_groups) != 1:
        return f"compiled updates need one group of parameters, got {len(optimizer.param_groups)} in {name}"
    for option in _NOT_SUPPORTED:
        if optimizer.param_groups[0].get(option):
            return f"compiled updates cannot use {name} with {option}"
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return f"compiled updates cannot call the hooks of {name}"
    if len({float(state["step"]) for state in optimizer.state.values()}) > 1:
        return f"some parameters of {name} have made more steps than others"
    return None


def constants_of(optimizer: Optimizer) -> tuple[Any, ...]:
    """Return the numbers of an optimiser that become part of a graph.

    Args:
        optimizer: Any optimiser.
    """
    group = optimizer.param_groups[0]
    return tuple(group.get(name) for name in ("betas", "eps", "weight_decay"))


def adam_step(
    parameters: Tensors,
    gradients: Mapping[str, Tensor],
    state: tuple[Tensors, Tensors, Tensor, Tensor],
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """Make one step of Adam (Kingma & Ba, ICLR 2015, algorithm 1), in place.

    Args:
        parameters: The parameters, which change.
        gradients: Their gradients, by the same names.
        state: What `AdamState.tensors` returned; the moments change, the count of steps does not.
        betas: Decay of both moments.
        eps: The denominator's addend.
        weight_decay: Factor of the parameter that is added to its gradient.
    """
    moments, squares, step, learning_rate = state
    correction = 1 - betas[0] ** (step + 1)
    root_correction = (1 - betas[1] ** (step + 1)).sqrt()
    step_size = learning_rate / correction
    for name, parameter in parameters.items():
        gradient = gradients[name]
        if weight_decay:
            gradient = gradient + weight_decay * parameter
        moment = torch.lerp(moments[name], gradient, 1 - betas[0])
        square = squares[name] * betas[1] + gradient * gradient * (1 - betas[1])
        moments[name].copy_(moment)
        squares[name].copy_(square)
        parameter.copy_(parameter - step_size * moment / (square.sqrt() / root_correction + eps))


def polyak_step(online: Tensors, target: Tensors, tau: float) -> None:
    """``target <- target + tau (online - target)``, in place.

    Args:
        online: The online network's tensors.
        target: The target network's tensors, by the same names.
        tau: Weight of the online network.
    """
    for name, value in target.items():
        value.copy_(value + (online[name] - value) * tau)


def _initial(parameter: Tensor, *, fused: bool) -> dict[str, Tensor]:
    """What Adam keeps for a parameter before its first step: the count is on the CPU unless it is fused."""
    return {
        "step": torch.zeros((), device=parameter.device if fused else "cpu"),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
