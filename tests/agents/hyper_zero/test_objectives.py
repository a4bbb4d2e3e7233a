"""Losses against loops over single samples in float64, and where gradients go."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from hyperrl_agents.hyper_zero import objectives
from hyperrl_agents.hyper_zero.batches import TaskBatch
from hyperrl_agents.hyper_zero.inference import TaskEncoder, divergence
from hyperrl_agents.hyper_zero.losses import td_loss
from hyperrl_agents.hyper_zero.networks import ContextNetworks, Shape

GAMMA = 0.99
WEIGHTS = objectives.Weights()
SHAPE = Shape(5, 2, 1, embedding=(8, 12), blocks=1, hidden=(16,))


def make_batch(groups=4, rows=6, dtype=torch.float32):
    torch.manual_seed(1)
    shape = (groups, rows)
    return TaskBatch(
        contexts=torch.randn(groups, 1, dtype=dtype),
        states=torch.randn(*shape, 5, dtype=dtype),
        actions=torch.rand(*shape, 2, dtype=dtype) * 2 - 1,
        rewards=torch.randn(shape, dtype=dtype),
        next_states=torch.randn(*shape, 5, dtype=dtype),
        terminated=(torch.rand(shape) < 0.3).to(dtype),
        values=torch.randn(shape, dtype=dtype) * 10,
    )


def make_networks(dtype=torch.float32, **changes):
    torch.manual_seed(0)
    return ContextNetworks(Shape(**{**vars(SHAPE), **changes})).to(dtype)


def per_sample(networks, batch, gamma=GAMMA):
    """The three terms, one sample and one small dense network after the other."""

    def apply(generated, x, last):
        named = generated.as_dict()
        hidden = torch.relu(named["layers.0.weight"] @ x + named["layers.0.bias"])
        return last(named["layers.1.weight"] @ hidden + named["layers.1.bias"])

    actions, values, tds = [], [], []
    for group in range(len(batch.contexts)):
        for row in range(batch.rewards.shape[1]):
            features = networks.policy.features(batch.contexts[group])
            policy, value = networks.policy.head(features), networks.values(features)
            state, action = batch.states[group, row], batch.actions[group, row]
            following = batch.next_states[group, row]
            actions.append((apply(policy, state, torch.tanh) - action).square().mean())
            now = apply(value, torch.cat([state, action]), lambda x: x)[0]
            values.append((now - batch.values[group, row]).square())
            with torch.no_grad():
                next_action = apply(policy, following, torch.tanh)
            then = apply(value, torch.cat([following, next_action]), lambda x: x)[0]
            bootstrapped = batch.rewards[group, row] + gamma * (1 - batch.terminated[group, row]) * then
            tds.append((batch.values[group, row] - bootstrapped).square())
    mean = [torch.stack(part).mean() for part in (actions, values, tds)]
    return mean[0] + 0.01 * mean[1] + 0.01 * mean[2], mean


def test_the_objective_is_that_of_a_loop_over_samples_with_all_gradients():
    networks, batch = make_networks(torch.float64), make_batch(dtype=torch.float64)
    losses = objectives.regression(networks, batch, WEIGHTS, GAMMA)
    expected, terms = per_sample(networks, batch)
    for name, term in zip(("action_loss", "value_loss", "td_loss"), terms, strict=True):
        torch.testing.assert_close(losses[name], term, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(losses["loss"], expected, rtol=1e-12, atol=1e-12)
    own = torch.autograd.grad(losses["loss"], networks.parameters())
    theirs = torch.autograd.grad(expected, networks.parameters())
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["mlp", "concat"])
def test_groups_and_single_samples_agree(kind):
    networks, batch = make_networks(kind=kind), make_batch()
    losses = [objectives.regression(networks, one, WEIGHTS, GAMMA) for one in (batch, batch.per_row())]
    gradients = [torch.autograd.grad(one["loss"], networks.parameters()) for one in losses]
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=1e-6, atol=1e-6)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    acted = networks(batch.contexts, batch.states).flatten(0, 1)
    single = batch.per_row()
    torch.testing.assert_close(acted, networks(single.contexts, single.states)[:, 0], rtol=1e-6, atol=1e-6)


def test_the_td_term_trains_the_bootstrapped_value_and_not_the_policy():
    networks, batch = make_networks(), make_batch()
    losses = objectives.regression(networks, batch, WEIGHTS, GAMMA)
    gradients = torch.autograd.grad(losses["td_loss"], networks.parameters(), allow_unused=True)
    by_name = dict(zip((name for name, _ in networks.named_parameters()), gradients, strict=True))
    # a' is cut off: nothing reaches the policy's head.
    assert all(by_name[name] is None for name in by_name if name.startswith("policy.head"))
    assert all(by_name[name].abs().sum() > 0 for name in by_name if name.startswith("values.banks"))
    assert by_name["policy.trunk.layers.0.weight"].abs().sum() > 0


def test_the_td_term_in_closed_form():
    values, rewards = torch.tensor([10.0, 4.0]), torch.tensor([1.0, 2.0])
    following = torch.tensor([5.0, 7.0], requires_grad=True)
    loss = td_loss(values, rewards, torch.tensor([0.0, 1.0]), following, 0.99)
    # The second episode terminated: nothing follows.
    errors = (1 + 0.99 * 5 - 10, 2 - 4)
    assert loss.item() == pytest.approx(sum(error**2 for error in errors) / 2)
    loss.backward()
    assert following.grad.tolist() == pytest.approx([0.99 * errors[0], 0.0])


def test_terms_can_be_left_out():
    networks, batch = make_networks(), make_batch()
    without_td = objectives.regression(networks, batch, objectives.Weights(0.01, 0.0), GAMMA)
    both = objectives.regression(networks, batch, WEIGHTS, GAMMA)
    assert "td_loss" not in without_td
    torch.testing.assert_close(without_td["loss"], both["loss"] - 0.01 * both["td_loss"])
    policy = make_networks(critic=False)
    assert set(objectives.regression(policy, batch, WEIGHTS, GAMMA)) == {"loss", "action_loss"}


def test_maml_is_the_second_order_loss_after_plain_gradient_steps():
    networks = make_networks(torch.float64, kind="concat", critic=False)
    batch = make_batch(dtype=torch.float64)
    steps, rate = 3, 0.05
    total = torch.zeros((), dtype=torch.float64)
    for group in range(len(batch.contexts)):
        fast = {name: value for name, value in networks.named_parameters()}
        for _ in range(steps):
            inner = policy_error(networks, fast, batch, group, slice(0, 3))
            slopes = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
            fast = {name: fast[name] - rate * slope for name, slope in zip(fast, slopes, strict=True)}
        total = total + policy_error(networks, fast, batch, group, slice(3, 6)) / len(batch.contexts)
    losses = objectives.meta(networks, batch, steps, rate)
    torch.testing.assert_close(losses["loss"], total, rtol=1e-10, atol=1e-12)
    own = torch.autograd.grad(losses["loss"], networks.parameters())
    theirs = torch.autograd.grad(total, networks.parameters())
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def policy_error(networks, parameters, batch, group, rows):
    predicted = torch.func.functional_call(
        networks, parameters, (batch.contexts[group], batch.states[group, rows])
    )
    return functional.mse_loss(predicted, batch.actions[group, rows])


def test_without_steps_maml_is_regression_on_the_second_half():
    networks, batch = make_networks(kind="concat", critic=False), make_batch()
    expected = functional.mse_loss(networks(batch.contexts, batch.states)[:, 3:], batch.actions[:, 3:])
    torch.testing.assert_close(objectives.meta(networks, batch, 0, 0.1)["loss"], expected)


def test_an_inferred_latent_never_sees_the_action_it_is_to_predict():
    networks = make_networks(kind="concat", critic=False, embedding=(), context=3)
    encoder, batch = TaskEncoder(7, 3, 8), make_batch()
    changed = batch.actions.clone()
    changed[0, 2] += 0.5
    seen = []
    for actions in (batch.actions, changed):
        torch.manual_seed(3)
        one = TaskBatch(**{**vars(batch), "actions": actions})
        seen.append(objectives.inferred(networks, encoder, one, 0.01))
    torch.manual_seed(3)
    others = torch.cat([batch.states.roll(1, 1), batch.actions.roll(1, 1)], dim=-1)
    mean, log_std = encoder(others)
    latents = mean + log_std.exp() * torch.randn_like(mean)
    predicted = networks(latents.flatten(0, 1), batch.states.flatten(0, 1).unsqueeze(1))[:, 0]
    expected = functional.mse_loss(predicted, batch.actions.flatten(0, 1))
    torch.testing.assert_close(seen[0]["action_loss"], expected)
    torch.testing.assert_close(seen[0]["loss"], expected + 0.01 * divergence(mean, log_std))
    # The row's own prediction depends on the row before only.
    assert seen[0]["kl_loss"] != seen[1]["kl_loss"]
    later, _ = encoder(torch.cat([batch.states.roll(1, 1), changed.roll(1, 1)], dim=-1))
    assert torch.equal(later[0, 2], mean[0, 2])
    assert not torch.equal(later[0, 3], mean[0, 3])


def test_the_divergence_is_that_of_torch():
    mean, log_std = torch.randn(4, 3), torch.randn(4, 3)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(divergence(mean, log_std), theirs.sum(-1).mean())


def test_batches_have_distinct_tasks_and_rows_of_the_right_ones():
    from hyperrl_agents.hyper_zero.batches import TaskBatches
    from tests.agents.hyper_zero.lines import line_transitions

    rng = np.random.default_rng(0)
    drifts = np.linspace(-0.9, 0.9, 5)
    # Tasks of different lengths.
    tasks = [line_transitions(drift, 10 + 7 * index, rng) for index, drift in enumerate(drifts)]
    batches = TaskBatches(drifts[:, None].astype(np.float32), tasks, 3, 4)
    counts = np.zeros(5)
    for _ in range(200):
        batch = batches.draw(rng)
        found = batch.contexts[:, 0].numpy()
        assert len(set(found.tolist())) == 3
        counts[np.searchsorted(drifts, found - 1e-3)] += 1
        torch.testing.assert_close(batch.actions, -batch.contexts[:, None] * batch.states)
    # Each is drawn in 3 of 5 batches: 120 +- 7.
    assert (np.abs(counts - 120) < 35).all()
