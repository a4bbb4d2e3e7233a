"""Learning rates of their own for parts of an agent, kept through Stable-Baselines3's schedule handling."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer


class ScaledGroup(dict[str, Any]):
    """A parameter group that multiplies every learning rate assigned to it.

    Stable-Baselines3 assigns the agent's scheduled rate to all groups before each update, which would
    flatten a rate set by hand. Reading ``group["lr"]`` gives the rate that the optimiser uses.

    Args:
        group: The group's content, its rate already scaled.
        factor: The multiplier.
    """

    def __init__(self, group: dict[str, Any], factor: float) -> None:
        super().__init__(group)
        self.factor = factor

    def __setitem__(self, key: str, value: Any) -> None:
        """Assign, scaling the learning rate."""
        super().__setitem__(key, value * self.factor if key == "lr" else value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without scaling again."""
        return ScaledGroup, (dict(self), self.factor)


def scale_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Make an optimiser use ``factor`` times whatever learning rate it is given, now and later.

    Args:
        optimizer: Any optimiser; its current rates are scaled once.
        factor: The multiplier.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * factor
    _keep_scaled(optimizer, factor)


def restore_scaling(optimizer: Optimizer) -> None:
    """Let a copied or unpickled optimiser keep its scaling when a state is loaded into it.

    Args:
        optimizer: Any optimiser; without `scale_learning_rate` in its past it stays as it is.
    """
    group = optimizer.param_groups[0]
    if isinstance(group, ScaledGroup):
        _keep_scaled(optimizer, group.factor)


def _keep_scaled(optimizer: Optimizer, factor: float) -> None:
    def wrap(loaded: Optimizer) -> None:
        # The list is changed in place: optimisers and schedulers hold on to it.
        loaded.param_groups[:] = [ScaledGroup(group, factor) for group in loaded.param_groups]

    wrap(optimizer)
    optimizer.register_load_state_dict_post_hook(wrap)
