"""The inner step: what a task's own data make of the parameters, and the outer loss behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hyperrl_agents.hyper_maml import losses
from hyperrl_agents.hyper_maml.actor import Gaussian, Parameters, TaskActor
from hyperrl_agents.hyper_maml.batches import TaskBatch


@dataclass(frozen=True)
class InnerRule:
    """How a task's data change the policy.

    Attributes:
        adapt: One of `hyperrl_agents.hyper_maml.actor.ADAPTS`.
        rate: Learning rate.
        first_order: Whether the steps count as constants when the outer loss is differentiated.
    """

    adapt: str = "all"
    rate: float = 5e-5
    first_order: bool = True


def adapted(
    actor: TaskActor,
    parameters: Parameters,
    conditions: Tensor,
    batches: Sequence[TaskBatch],
    rule: InnerRule,
) -> dict[str, Tensor]:
    """Return what is each task's own after one gradient step for each batch.

    Args:
        actor: The policies.
        parameters: Where the steps start; the result depends on them in torch's graph.
        conditions: What is seen of each context, ``[T, d]``.
        batches: The data of each step; none means that nothing is adapted.
        rule: How.
    """
    if not batches:
        return {}
    own = actor.start(parameters, conditions, rule.adapt)
    fixed = {name: value.detach() for name, value in parameters.items()} if rule.first_order else parameters
    for batch in batches:
        point = own
        if rule.first_order:
            point = {name: value.detach().requires_grad_() for name, value in own.items()}
        policy = actor.gaussian(actor.task_weights(fixed, point, conditions), batch.states)
        # No task's loss depends on what is another's.
        loss = losses.reinforce(policy, batch.actions, batch.advantages, batch.mask).sum()
        gradients = torch.autograd.grad(loss, list(point.values()), create_graph=not rule.first_order)
        own = {name: own[name] - rule.rate * gradient for name, gradient in zip(own, gradients, strict=True)}
    return own


@dataclass(frozen=True)
class MetaObjective:
    """The outer loss and how far the policies are from those that acted, as functions of the parameters.

    Attributes:
        actor: The policies.
        conditions: What is seen of each context, ``[T, d]``.
        before: The data of each inner step.
        after: What was collected after the last one.
        old: The policies that collected it.
        rule: The inner step.
        share: Of these tasks among all: a factor on both.
    """

    actor: TaskActor
    conditions: Tensor
    before: Sequence[TaskBatch]
    after: TaskBatch
    old: Gaussian
    rule: InnerRule
    share: float = 1.0

    def parts(self, size: int) -> list[MetaObjective]:
        """Return objectives of so many tasks each, whose sum this is.

        Args:
            size: The most tasks of each.
        """
        return [
            replace(
                self,
                conditions=self.conditions[which],
                before=[batch.tasks(which) for batch in self.before],
                after=self.after.tasks(which),
                old=Gaussian(self.old.mean[which], self.old.log_std[which]),
                share=self.share * len(self.conditions[which]) / len(self.conditions),
            )
            for which in slices(len(self.conditions), size)
        ]

    def __call__(self) -> tuple[Tensor, Tensor]:
        """Return the surrogate loss and the KL divergence, each a mean over tasks, times the share."""
        parameters = self.actor.by_name()
        own = adapted(self.actor, parameters, self.conditions, self.before, self.rule)
        tasks = self.actor.task_weights(parameters, own, self.conditions)
        new = self.actor.gaussian(tasks, self.after.states)
        actions, advantages, mask = self.after.actions, self.after.advantages, self.after.mask
        loss = losses.surrogate(new, self.old, actions, advantages, mask)
        return self.share * loss.mean(), self.share * losses.divergence(new, self.old, mask).mean()


def slices(tasks: int, size: int) -> list[slice]:
    """Return consecutive slices of so many tasks that cover all.

    Args:
        tasks: How many there are.
        size: The most tasks of a slice.
    """
    return [slice(start, min(start + size, tasks)) for start in range(0, tasks, size)]
