"""PPO's loss of sequences."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperrl.sb3 import ppo_losses
from hyperrl_agents.recurrent_hyper import losses
from hyperrl_agents.recurrent_hyper.policies import RecurrentHyperPolicy
from hyperrl_agents.recurrent_hyper.rollout import Minibatch


def policy_loss(
    policy: RecurrentHyperPolicy,
    batch: Minibatch,
    clip_range: float,
    value_range: float | None,
    ent_coef: float,
    vf_coef: float,
) -> tuple[Tensor, Tensor]:
    """Return the loss of a minibatch, whose latents are computed anew where it reaches the memory.

    Args:
        policy: The policy.
        batch: The sequences.
        clip_range: How far probabilities may move.
        value_range: How far values may; None for as far as they do.
        ent_coef: Weight of the entropy.
        vf_coef: Weight of the value loss.

    Returns:
        The loss, and its `hyperrl.sb3.ppo_metrics.METRICS`.
    """
    latents = batch.latents
    if latents is None:
        latents = policy.latents_of(batch.features, batch.hidden, batch.segments)
    values, log_prob, entropy = policy.evaluate(
        batch.features.flatten(0, 1), latents.flatten(0, 1), batch.actions
    )
    log_ratio = log_prob - batch.log_probs
    ratio = log_ratio.exp()
    surrogate = ppo_losses.clipped_surrogate(ratio, batch.advantages, clip_range)
    value_loss = losses.huber_value_loss(values, batch.values, batch.returns, value_range)
    entropy_loss = ppo_losses.entropy_loss(entropy, log_prob)
    loss = surrogate + ent_coef * entropy_loss + vf_coef * value_loss
    with torch.no_grad():
        share, divergence = ppo_losses.clip_fraction(ratio, clip_range), ppo_losses.approximate_kl(log_ratio)
        return loss, torch.stack([surrogate, value_loss, entropy_loss, share, divergence, loss])
