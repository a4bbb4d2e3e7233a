"""One gradient step of PEARL: encoder and Q-functions, then V, then the policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hyperrl.sb3.polyak import polyak_update
from hyperrl_agents.hyper_pearl import losses
from hyperrl_agents.hyper_pearl.replay import TaskBatch

if TYPE_CHECKING:
    from hyperrl_agents.hyper_pearl.policies import HyperPEARLPolicy

METRICS = ("q_loss", "v_loss", "policy_loss", "kl", "q_mean", "log_std", "latent_std")

Normal = Callable[..., Tensor]
"""Draws standard normal numbers of a shape."""


@dataclass(frozen=True)
class Weights:
    """The numbers in the losses.

    Attributes:
        gamma: Discount.
        reward_scale: Factor of rewards, one over the temperature of the entropy.
        kl: Weight of the posterior's divergence from the prior.
        mean: Weight of the L2 term of the policy's means.
        log_std: Weight of that of its log-standard deviations.
    """

    gamma: float = 0.99
    reward_scale: float = 5.0
    kl: float = 0.1
    mean: float = 1e-3
    log_std: float = 1e-3


@dataclass(frozen=True)
class Critics:
    """What the critics' step is made of.

    Attributes:
        loss: What encoder and Q-functions minimise.
        latents: ``[T, C]``, with a graph to the encoder.
        q_loss: The Bellman errors.
        kl: The divergence, before its weight; 0 without an encoder.
        values: The first Q-function's values, ``[T, b]``.
        variance: The posterior's, ``[T, C]``; 0 without an encoder.
    """

    loss: Tensor
    latents: Tensor
    q_loss: Tensor
    kl: Tensor
    values: Tensor
    variance: Tensor


def critics_loss(
    policy: HyperPEARLPolicy, batch: TaskBatch, context: Tensor, weights: Weights, normal: Normal
) -> Critics:
    """Return what encoder and Q-functions minimise.

    Args:
        policy: The networks.
        batch: T tasks, b rows of each.
        context: Transitions ``[T, c, inputs]`` for the encoder; without one the latents ``[T, C]``.
        weights: Of the losses.
        normal: Draws the noise of the latents.
    """
    kl = context.new_zeros(())
    variance, latents = kl, context
    if policy.encoder is not None:
        mean, variance = policy.encoder(context)
        latents = mean + variance.sqrt() * normal(*mean.shape)
        kl = losses.divergence(mean, variance)
    z = _each_row(latents, batch.rewards)
    with torch.no_grad():
        after = policy.v_target(batch.next_states, z)
    targets = losses.td_targets(batch.rewards, batch.terminated, after, weights.gamma, weights.reward_scale)
    inputs = torch.cat([batch.actions, z], dim=-1)
    first, second = (q(batch.states, inputs) for q in (policy.q1, policy.q2))
    q_loss = losses.bellman_error(first, second, targets)
    return Critics(weights.kl * kl + q_loss, latents, q_loss, kl, first, variance)


def actor_losses(
    policy: HyperPEARLPolicy, states: Tensor, latents: Tensor, weights: Weights, normal: Normal
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what V and the policy minimise, and the mean log-standard deviation.

    Neither changes the encoder or the Q-functions.

    Args:
        policy: The networks.
        states: ``[T, b, S]``.
        latents: ``[T, C]``; their graph is left alone.
        weights: Of the losses.
        normal: Draws the noise of the actions.
    """
    latents = latents.detach()
    mean, log_std = policy.actor(latents, states)
    actions, log_probs = losses.squashed(mean, log_std, normal(*mean.shape))
    z = _each_row(latents, log_probs)
    inputs = torch.cat([actions, z], dim=-1)
    least = torch.minimum(*(q(states, inputs, trains=False) for q in (policy.q1, policy.q2)))
    value_error = losses.value_error(policy.v(states, z), least, log_probs)
    loss = losses.policy_loss(least, log_probs, mean, log_std, weights.mean, weights.log_std)
    return value_error, loss, log_std.detach().mean()


def gradient_step(
    policy: HyperPEARLPolicy,
    batch: TaskBatch,
    context: Tensor,
    weights: Weights,
    tau: float,
    normal: Normal,
) -> Tensor:
    """Make one step of all optimisers and of V's target, in the order of the publication.

    Args:
        policy: The networks.
        batch: T tasks, b rows of each.
        context: As in `critics_loss`.
        weights: Of the losses.
        tau: Weight of V in its target's moving average.
        normal: Draws noise.

    Returns:
        `METRICS`, on the device.
    """
    critics = critics_loss(policy, batch, context, weights, normal)
    optimizers = policy.optimizers
    trained = [name for name in ("critic", "encoder") if name in optimizers]
    for name in trained:
        optimizers[name].zero_grad(set_to_none=True)
    critics.loss.backward()
    for name in trained:
        optimizers[name].step()
    # With the Q-functions as they are after their step.
    value_error, policy_loss, log_std = actor_losses(policy, batch.states, critics.latents, weights, normal)
    optimizers["value"].zero_grad(set_to_none=True)
    value_error.backward()
    optimizers["value"].step()
    polyak_update(list(policy.v.parameters()), list(policy.v_target.parameters()), tau)
    optimizers["actor"].zero_grad(set_to_none=True)
    policy_loss.backward()
    optimizers["actor"].step()
    latent_std = critics.variance.sqrt().mean()
    values = critics.values.mean()
    return torch.stack(
        [
            part.detach()
            for part in (critics.q_loss, value_error, policy_loss, critics.kl, values, log_std, latent_std)
        ]
    )


def _each_row(latents: Tensor, like: Tensor) -> Tensor:
    """Latents ``[T, C]`` for each row ``[T, b, C]``, without copies."""
    return latents.unsqueeze(1).expand(-1, like.shape[1], -1)
