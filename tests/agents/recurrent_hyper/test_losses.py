"""The losses against loops and against torch.distributions."""

from __future__ import annotations

import pytest
import torch as th
from torch.distributions import Normal, kl_divergence

from hyperrl_agents.recurrent_hyper import losses


def huber(error):
    return 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5


@pytest.mark.parametrize("clip_range", [None, 0.3])
def test_the_value_loss_is_that_of_a_loop(clip_range):
    values, old, returns = 2 * th.randn(3, 40, dtype=th.double)
    expected = 0.0
    for value, before, target in zip(values.tolist(), old.tolist(), returns.tolist(), strict=True):
        error = huber(value - target)
        if clip_range is not None:
            near = before + min(max(value - before, -clip_range), clip_range)
            error = max(error, huber(near - target))
        expected += 0.5 * error / 40
    assert float(losses.huber_value_loss(values, old, returns, clip_range)) == pytest.approx(expected)


def test_divergences_are_those_of_torch_from_the_posterior_before():
    mean, log_variance = th.randn(2, 6, 4, 3, dtype=th.double)
    given = losses.posterior_divergences(mean, log_variance)
    before = Normal(th.zeros(4, 3, dtype=th.double), 1.0)
    for step in range(6):
        posterior = Normal(mean[step], (0.5 * log_variance[step]).exp())
        assert th.allclose(given[step], kl_divergence(posterior, before).sum(1))
        before = posterior


def test_reconstruction_is_a_likelihood_but_for_a_constant():
    predicted, target, other = th.randn(3, 5, 2, dtype=th.double)

    def likelihood(value):
        return Normal(predicted, 0.5**0.5).log_prob(value).mean(-1)

    difference = losses.reconstruction_loss(predicted, target) - losses.reconstruction_loss(predicted, other)
    assert th.allclose(difference, likelihood(other) - likelihood(target))


def test_the_bound_is_a_mean_over_what_was_chosen():
    errors, divergences = th.rand(2, 5, 3, dtype=th.double)
    chosen = th.tensor([[1.0, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=th.double)
    terms = [
        float(errors[k, b] + 0.25 * divergences[k, b]) for k in range(5) for b in range(3) if chosen[k, b]
    ]
    given = losses.evidence_lower_bound(errors, divergences, chosen, 0.25)
    assert float(given) == pytest.approx(sum(terms) / len(terms))
