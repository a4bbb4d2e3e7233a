"""What is minimised on a batch: HyperZero's three terms, MAML's second-order loss, PEARL's bounded one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from hyperrl_agents.hyper_zero.batches import TaskBatch
from hyperrl_agents.hyper_zero.inference import TaskEncoder, divergence
from hyperrl_agents.hyper_zero.losses import action_loss, td_loss, value_loss
from hyperrl_agents.hyper_zero.networks import ContextNetworks

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """What the terms count beside the action's.

    Attributes:
        value: Weight of the value's error; 0 leaves it out.
        td: Weight of the TD term; 0 leaves it out.
        kl: Weight of the divergence of an inferred latent from its prior.
    """

    value: float = 0.01
    td: float = 0.01
    kl: float = 0.01


def regression(networks: ContextNetworks, batch: TaskBatch, weights: Weights, gamma: float) -> Losses:
    """HyperZero's objective, and without some of its terms that of the context-conditioned baselines.

    Args:
        networks: The networks.
        batch: G tasks with n rows each; weights are generated G times.
        weights: Of the terms.
        gamma: Discount.

    Returns:
        The terms by name, and "loss", their weighted sum.
    """
    if networks.values is None:
        actions = action_loss(networks(batch.contexts, batch.states), batch.actions)
        return {"loss": actions, "action_loss": actions}
    policy, values = networks.generate(batch.contexts)
    losses = {"action_loss": action_loss(networks.act(policy, batch.states), batch.actions)}
    total = losses["action_loss"]
    if not weights.td:
        losses["value_loss"] = value_loss(networks.judge(values, batch.states, batch.actions), batch.values)
        return {"loss": total + weights.value * losses["value_loss"], **losses}
    with torch.no_grad():
        next_actions = networks.act(policy.detach(), batch.next_states)
    # Both rows of values in one product.
    states = torch.cat([batch.states, batch.next_states], dim=1)
    actions = torch.cat([batch.actions, next_actions], dim=1)
    now, following = networks.judge(values, states, actions).chunk(2, dim=1)
    losses["value_loss"] = value_loss(now, batch.values)
    losses["td_loss"] = td_loss(batch.values, batch.rewards, batch.terminated, following, gamma)
    total = total + weights.value * losses["value_loss"] + weights.td * losses["td_loss"]
    return {"loss": total, **losses}


def meta(networks: ContextNetworks, batch: TaskBatch, steps: int, rate: float) -> Losses:
    """MAML (Finn et al., ICML 2017), second order: the first half of the rows adapts, the second half judges.

    Args:
        networks: The networks, of which the policy is learned.
        batch: G tasks with n rows each.
        steps: Gradient steps of the adaptation.
        rate: Their learning rate.
    """
    half = batch.rewards.shape[1] // 2
    parameters: dict[str, Tensor] = dict(networks.named_parameters())

    def after_adaptation(context: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        fast = parameters
        for _ in range(steps):
            slopes = grad(_policy_loss, argnums=1)(networks, fast, context, states[:half], actions[:half])
            fast = {name: value - rate * slopes[name] for name, value in fast.items()}
        return _policy_loss(networks, fast, context, states[half:], actions[half:])

    loss = vmap(after_adaptation)(batch.contexts, batch.states, batch.actions).mean()
    return {"loss": loss, "action_loss": loss}


def inferred(networks: ContextNetworks, encoder: TaskEncoder, batch: TaskBatch, kl_weight: float) -> Losses:
    """PEARL's objective (Rakelly et al., ICML 2019) for imitation: the task is inferred from a transition.

    The latent of a row comes from another row of the same task, so that it cannot hold the action itself.

    Args:
        networks: The networks, whose condition is the latent.
        encoder: From a state and an action to the latent's distribution.
        batch: G tasks with n rows each.
        kl_weight: Weight of the divergence from the prior.
    """
    others = [part.roll(1, dims=1) for part in (batch.states, batch.actions)]
    mean, log_std = encoder(torch.cat(others, dim=-1))
    latents = mean + log_std.exp() * torch.randn_like(mean)
    predicted = networks(latents.flatten(0, 1), batch.states.flatten(0, 1).unsqueeze(1)).squeeze(1)
    actions = action_loss(predicted, batch.actions.flatten(0, 1))
    kl = divergence(mean, log_std)
    return {"loss": actions + kl_weight * kl, "action_loss": actions, "kl_loss": kl}


def _policy_loss(
    networks: nn.Module, parameters: dict[str, Tensor], context: Tensor, states: Tensor, actions: Tensor
) -> Tensor:
    predicted: Tensor = functional_call(networks, parameters, (context, states))
    return action_loss(predicted, actions)
