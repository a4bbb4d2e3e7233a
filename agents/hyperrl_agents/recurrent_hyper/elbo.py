"""The update of VariBAD's evidence lower bound."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperrl_agents.recurrent_hyper import losses
from hyperrl_agents.recurrent_hyper.policies import RecurrentHyperPolicy
from hyperrl_agents.recurrent_hyper.trajectories import Trials


def bound_loss(policy: RecurrentHyperPolicy, trials: Trials) -> dict[str, Tensor]:
    """Return the negative bound of trials, and its parts.

    From each posterior that is drawn, one latent is drawn, and rewards of steps before and after it are
    predicted: those of the past say what was seen, those of the future what is believed of the task.

    Args:
        policy: With an encoder and decoders.
        trials: The trials.

    Returns:
        "loss", with a gradient, "reward_loss", "state_loss" (where states are predicted) and
        "kl_divergence".
    """
    settings, columns, encoder = policy.elbo, policy.columns, policy.encoder
    features, next_features, lengths = trials
    steps, count = features.shape[:2]
    hidden = encoder.sequences(features, encoder.nothing(count))
    mean, log_variance = encoder.posterior(hidden)
    divergences = losses.posterior_divergences(mean, log_variance)
    terms, chosen_terms = _drawn(lengths, steps, settings.terms)
    decodes, chosen_decodes = _drawn(lengths, steps, settings.decodes)

    mean, log_variance = _picked(mean, terms), _picked(log_variance, terms)
    latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    latents = latents.unsqueeze(1)
    decoded, following = _picked(features, decodes), _picked(next_features, decodes)
    states, actions, after = columns.state(decoded), columns.action(following), columns.state(following)
    predicted = policy.decoders.rewards(latents, states, actions, after)
    errors = losses.reconstruction_loss(predicted, columns.reward(following)) * chosen_decodes
    parts = {"reward_loss": errors}
    if policy.decoders.next_state is not None:
        predicted = policy.decoders.next_states(latents, states, actions)
        parts["state_loss"] = losses.reconstruction_loss(predicted, after) * chosen_decodes
        errors = errors + settings.state_weight * parts["state_loss"]
    divergence = divergences.gather(0, terms)
    loss = losses.evidence_lower_bound(errors.sum(1), divergence, chosen_terms, settings.kl_weight)
    pairs = (chosen_terms.unsqueeze(1) * chosen_decodes).sum()
    told = {name: (part.detach() * chosen_terms.unsqueeze(1)).sum() / pairs for name, part in parts.items()}
    divergence = (divergence.detach() * chosen_terms).sum() / chosen_terms.sum()
    return {"loss": loss, **told, "kl_divergence": divergence}


def _drawn(lengths: Tensor, steps: int, count: int) -> tuple[Tensor, Tensor]:
    """Draw steps of each trial, none twice.

    Returns:
        Their numbers ``[K, B]``, and 1 for those that are no padding.
    """
    beyond = torch.arange(steps, device=lengths.device).unsqueeze(1) >= lengths
    keys = torch.rand(steps, len(lengths), device=lengths.device).masked_fill(beyond, 2.0)
    drawn = keys.argsort(0)[:count]
    return drawn, (~beyond.gather(0, drawn)).float()


def _picked(values: Tensor, steps: Tensor) -> Tensor:
    """Values ``[T, B, n]`` at steps ``[K, B]``."""
    return values.gather(0, steps.unsqueeze(2).expand(-1, -1, values.shape[2]))
