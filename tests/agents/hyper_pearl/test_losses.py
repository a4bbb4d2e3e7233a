"""The losses against closed forms, torch's distributions and loops over single rows."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import distributions

from hyperrl_agents.hyper_pearl import losses
from hyperrl_agents.hyper_pearl.encoder import ContextEncoder
from hyperrl_agents.hyper_pearl.replay import TaskBatch
from hyperrl_agents.hyper_pearl.update import Weights, actor_losses, critics_loss, gradient_step
from tests.agents.hyper_pearl.building import build

T, B, C, S, A = 3, 4, 5, 2, 2


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def batch():
    terminated = torch.zeros(T, B)
    terminated[0, 1] = terminated[2, 3] = 1
    states, actions = torch.randn(T, B, S), torch.rand(T, B, A) * 2 - 1
    return TaskBatch(states, actions, torch.randn(T, B), torch.randn(T, B, S), terminated)


def still(*shape):
    """Noise of 0.1 everywhere: known, so that losses can be computed again."""
    return torch.full(shape, 0.1)


@pytest.fixture
def policy():
    """Networks in double precision, whose target is not yet where V is."""
    made = build().policy.double()
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        for parameter in made.v_target.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    yield made
    torch.set_default_dtype(torch.float32)


def test_the_product_of_gaussians_is_the_normalised_product_of_their_densities():
    means, variances = torch.randn(7, dtype=torch.float64), torch.rand(7, dtype=torch.float64) + 0.2
    mean, variance = losses.product_of_gaussians(means[:, None], variances[:, None])
    # Not its formula: the product on a fine grid.
    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    logs = distributions.Normal(means[:, None], variances[:, None].sqrt()).log_prob(grid).sum(0)
    density = (logs - logs.max()).exp()
    density /= density.sum()
    expected = (density * grid).sum()
    assert mean.item() == pytest.approx(expected.item(), abs=1e-9)
    assert variance.item() == pytest.approx((density * (grid - expected) ** 2).sum().item(), abs=1e-9)


def test_no_variance_of_a_factor_is_less_than_its_floor():
    mean, variance = losses.product_of_gaussians(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1))
    assert mean.item() == pytest.approx(2.0)
    assert variance.item() == pytest.approx(0.5e-7)


def test_factors_of_one_product_can_be_multiplied_in_parts():
    means, variances = torch.randn(9, C).double(), torch.rand(9, C).double() + 0.1
    whole = losses.product_of_gaussians(means, variances)
    parts = [losses.product_of_gaussians(means[part], variances[part]) for part in (slice(4), slice(4, 9))]
    again = losses.product_of_gaussians(*(torch.stack(part) for part in zip(*parts, strict=True)))
    for one, other in zip(whole, again, strict=True):
        torch.testing.assert_close(one, other)


def test_the_divergence_is_a_sum_over_tasks_and_numbers():
    mean, variance = torch.randn(T, C).double(), torch.rand(T, C).double() + 0.1
    prior = distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
    expected = distributions.kl_divergence(distributions.Normal(mean, variance.sqrt()), prior).sum()
    found = losses.divergence(mean, variance)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(losses.divergence(mean.repeat(2, 1), variance.repeat(2, 1)), 2 * expected)


def test_actions_and_their_probabilities_are_those_of_a_squashed_gaussian():
    mean, log_std, noise = (0.5 * torch.randn(T, B, A).double() for _ in range(3))
    actions, log_probs = losses.squashed(mean, log_std, noise)
    tanh = distributions.transforms.TanhTransform()
    squashed = distributions.TransformedDistribution(distributions.Normal(mean, log_std.exp()), [tanh])
    torch.testing.assert_close(actions, (mean + log_std.exp() * noise).tanh())
    torch.testing.assert_close(log_probs, squashed.log_prob(actions).sum(-1))


def test_probabilities_are_finite_where_tanh_is_one():
    mean = torch.full((1, A), 40.0, requires_grad=True)
    _, log_probs = losses.squashed(mean, torch.zeros(1, A), torch.zeros(1, A))
    log_probs.sum().backward()
    assert log_probs.isfinite().all()
    assert mean.grad.isfinite().all()


def test_the_encoder_multiplies_what_each_transition_says():
    encoder = ContextEncoder(5, C, (8,)).double()
    context = torch.randn(T, 6, 5).double()
    mean, variance = encoder(context)
    for task in range(T):
        rows = [encoder.net(row) for row in context[task]]
        precisions = [1 / torch.nn.functional.softplus(row[C:]) for row in rows]
        total = sum(precisions)
        torch.testing.assert_close(variance[task], 1 / total)
        torch.testing.assert_close(
            mean[task], sum(p * row[:C] for p, row in zip(precisions, rows, strict=True)) / total
        )


def q_of(net, state, action, latent):
    """One row's value, by itself."""
    return net(state[None, None], torch.cat([action, latent])[None, None]).item()


def test_the_critics_loss_is_that_of_a_loop_over_rows(policy):
    data, context = batch(), torch.randn(T, 3, S + A + 1)
    weights = Weights(gamma=0.9, reward_scale=3.0, kl=0.2)
    found = critics_loss(policy, data, context, weights, still)
    mean, variance = policy.encoder(context)
    errors, kl = [], 0.0
    for task in range(T):
        latent = mean[task] + 0.1 * variance[task].sqrt()
        for m, v in zip(mean[task].tolist(), variance[task].tolist(), strict=True):
            kl += 0.5 * (m * m + v - 1 - np.log(v))
        for row in range(B):
            after = policy.v_target(data.next_states[task, row][None, None], latent[None, None]).item()
            going_on = 0.0 if data.terminated[task, row] else 1.0
            target = 3.0 * data.rewards[task, row].item() + 0.9 * going_on * after
            for net in (policy.q1, policy.q2):
                value = q_of(net, data.states[task, row], data.actions[task, row], latent)
                errors.append((value - target) ** 2)
    q_loss = sum(errors) / (T * B)
    assert found.q_loss.item() == pytest.approx(q_loss, rel=1e-9)
    assert found.kl.item() == pytest.approx(kl, rel=1e-9)
    assert found.loss.item() == pytest.approx(q_loss + 0.2 * kl, rel=1e-9)


def test_the_losses_of_v_and_policy_are_those_of_a_loop_over_rows(policy):
    data, latents = batch(), torch.randn(T, C)
    weights = Weights(mean=0.3, log_std=0.2)
    value_error, policy_loss, _ = actor_losses(policy, data.states, latents, weights, still)
    values, gains, means, logs = [], [], [], []
    for task in range(T):
        for row in range(B):
            state = data.states[task, row]
            mean, log_std = (one[0, 0] for one in policy.actor(latents[task][None], state[None, None]))
            raw = mean + 0.1 * log_std.exp()
            density = distributions.Normal(mean, log_std.exp()).log_prob(raw)
            log_prob = (density - torch.log(1 - raw.tanh().square())).sum().item()
            least = min(q_of(net, state, raw.tanh(), latents[task]) for net in (policy.q1, policy.q2))
            value = policy.v(state[None, None], latents[task][None, None]).item()
            values.append((value - (least - log_prob)) ** 2)
            gains.append(log_prob - least)
            means += (mean**2).tolist()
            logs += (log_std**2).tolist()
    assert value_error.item() == pytest.approx(np.mean(values), rel=1e-9)
    expected = np.mean(gains) + 0.3 * np.mean(means) + 0.2 * np.mean(logs)
    assert policy_loss.item() == pytest.approx(expected, rel=1e-9)


def gradients(module):
    return [parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters()]


@pytest.mark.parametrize("networks", ["hyper", "mlp"])
def test_the_encoder_learns_from_the_critics_and_the_divergence_alone(networks):
    policy = build(policy_kwargs={"networks": networks}).policy
    data, context = batch(), torch.randn(T, 3, S + A + 1)
    critics = critics_loss(policy, data, context, Weights(), still)
    for loss, learners in ((critics.kl, ()), (critics.q_loss, (policy.q1, policy.q2))):
        policy.zero_grad(set_to_none=True)
        loss.backward(retain_graph=True)
        assert any(gradients(policy.encoder))
        for part in (policy.q1, policy.q2, policy.v, policy.v_target, policy.actor):
            assert any(gradients(part)) == any(part is learner for learner in learners)
    for number, learner in enumerate((policy.v, policy.actor)):
        policy.zero_grad(set_to_none=True)
        own = actor_losses(policy, data.states, critics.latents, Weights(), still)[number]
        own.backward()
        for part in (policy.encoder, policy.q1, policy.q2, policy.v, policy.v_target, policy.actor):
            assert any(gradients(part)) == (part is learner)


@pytest.mark.parametrize("networks", ["hyper", "mlp"])
def test_the_policys_gradient_is_the_same_where_the_critics_are_cut_off(networks):
    policy = build(policy_kwargs={"networks": networks}).policy.double()
    states, inputs = torch.randn(T, B, S).double(), torch.randn(T, B, A + C).double()
    found = []
    for trains in (True, False):
        given = inputs.clone().requires_grad_()
        policy.q1(states, given, trains=trains).sum().backward()
        found.append(given.grad)
    torch.testing.assert_close(*found)


def test_a_step_is_made_in_the_published_order(policy):
    """The policy's and V's losses see Q-functions that have made their step; V's target moves by tau."""
    data, context = batch(), torch.randn(T, 3, S + A + 1)
    other = copy.deepcopy(policy)
    found = gradient_step(policy, data, context, Weights(), 0.25, still)
    critics = critics_loss(other, data, context, Weights(), still)
    rate = policy.critic_optimizer.param_groups[0]["lr"]
    other.critic_optimizer = torch.optim.Adam([*other.q1.parameters(), *other.q2.parameters()], lr=rate)
    critics.loss.backward()
    other.critic_optimizer.step()
    value_error, policy_loss, _ = actor_losses(other, data.states, critics.latents, Weights(), still)
    assert found[0].item() == pytest.approx(critics.q_loss.item(), rel=1e-9)
    assert found[1].item() == pytest.approx(value_error.item(), rel=1e-9)
    assert found[2].item() == pytest.approx(policy_loss.item(), rel=1e-9)
    pairs = zip(other.v_target.parameters(), policy.v.parameters(), policy.v_target.parameters(), strict=True)
    for before, value, after in pairs:
        torch.testing.assert_close(after, 0.75 * before + 0.25 * value)
