"""Losses and targets against loops of NumPy and torch's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hyperrl_agents.hyper_maml import losses
from hyperrl_agents.hyper_maml.actor import Gaussian
from hyperrl_agents.hyper_maml.batches import TaskBatch
from tests.agents.hyper_maml.cases import ACTIONS, make_batch, one

GAMMA, LAMBDA = 0.9, 0.7


def episodes(tasks=2, each=3, longest=7, states=2, seed=0):
    """Padded episodes of different lengths: states, actions, rewards, mask."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, (tasks, each))
    lengths[0, 0] = longest
    mask = np.arange(longest) < lengths[..., None]
    shape = (tasks, each, longest)
    # What stands behind an episode's end must make no difference.
    return (
        rng.normal(size=(*shape, states)),
        rng.normal(size=(*shape, 2)),
        rng.normal(size=shape) * mask,
        mask,
    )


def policies(seed):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(3, 8, ACTIONS, generator=generator, dtype=torch.float64)
    return Gaussian(mean, torch.randn(3, 1, ACTIONS, generator=generator, dtype=torch.float64) * 0.3)


def distribution(policy, task, mask):
    return Normal(policy.mean[task][mask[task]], policy.log_std[task].exp())


def test_returns_and_advantages_are_those_of_a_loop():
    _, _, rewards, mask = episodes()
    values = np.random.default_rng(1).normal(size=rewards.shape) * mask
    returns = losses.discounted_returns(torch.tensor(rewards), GAMMA)
    found = losses.generalised_advantages(torch.tensor(rewards), torch.tensor(values), GAMMA, LAMBDA)
    for index in np.ndindex(mask.shape[:2]):
        length = mask[index].sum()
        for step in range(length):
            rest = range(step, length)
            total = sum(GAMMA ** (k - step) * rewards[index][k] for k in rest)
            after = np.append(values[index], 0.0)
            after[length] = 0.0
            errors = [rewards[index][k] + GAMMA * after[k + 1] - after[k] for k in rest]
            advantage = sum((GAMMA * LAMBDA) ** (k - step) * errors[k - step] for k in rest)
            assert returns[index][step].item() == pytest.approx(total)
            assert found[index][step].item() == pytest.approx(advantage)


def test_the_baseline_is_the_ridge_regression_of_each_task():
    states, _, rewards, mask = episodes(each=6)
    returns = losses.discounted_returns(torch.tensor(rewards), GAMMA).numpy()
    found = losses.baseline_values(torch.tensor(states), torch.tensor(returns), torch.tensor(mask)).numpy()
    assert not found[~mask].any()
    for task in range(2):
        rows = [
            [*states[task, e, t], *states[task, e, t] ** 2, t / 100, (t / 100) ** 2, (t / 100) ** 3, 1]
            for e, t in zip(*np.nonzero(mask[task]), strict=True)
        ]
        # Ridge regression is least squares with rows sqrt(1e-5) I below.
        design = np.concatenate([rows, np.sqrt(1e-5) * np.eye(8)])
        target = np.concatenate([returns[task][mask[task]], np.zeros(8)])
        weights = np.linalg.lstsq(design, target, rcond=None)[0]
        np.testing.assert_allclose(found[task][mask[task]], np.array(rows) @ weights, rtol=1e-6, atol=1e-8)


def test_the_baseline_finds_returns_that_are_linear_in_its_features():
    states, _, _, mask = episodes(each=40, longest=20)
    time = np.arange(20) / 100
    returns = (1 + 2 * states[..., 0] - 3 * states[..., 1] ** 2 + 4 * time) * mask
    found = losses.baseline_values(
        torch.tensor(states, dtype=torch.float32),
        torch.tensor(returns, dtype=torch.float32),
        torch.tensor(mask),
    )
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), returns, atol=2e-2)


def test_the_baseline_bears_columns_that_say_the_same_and_large_numbers():
    """Two columns are constant, as the feature 1 is, one of them huge; returns are linear in the third."""
    states, _, _, mask = episodes(each=10, longest=20, states=3)
    states[..., 1:] = 1.0, 3e7
    returns = (2 + states[..., 0]) * mask
    found = losses.baseline_values(*(torch.tensor(part) for part in (states, returns, mask)))
    np.testing.assert_allclose(found.numpy(), returns, atol=1e-3)


def test_one_short_episode_has_a_baseline_too():
    states, _, rewards, mask = episodes(tasks=1, each=1, longest=2)
    found = losses.baseline_values(*(torch.tensor(part) for part in (states, rewards, mask)))
    assert torch.isfinite(found).all()


def test_a_batch_is_padded_and_normalised_in_each_task():
    states, actions, rewards, mask = episodes()
    behind = np.where(mask[..., None], states, 1e6)
    settings = {"gamma": GAMMA, "gae_lambda": LAMBDA, "device": torch.device("cpu")}
    batch = TaskBatch.of(states, actions, rewards, mask, **settings)
    other = TaskBatch.of(behind, actions, rewards, mask, **settings)
    assert torch.equal(batch.advantages, other.advantages)
    assert batch.states.shape == (2, 21, 2)
    for task in range(2):
        own = batch.advantages[task][batch.mask[task]].numpy()
        assert own.mean() == pytest.approx(0, abs=1e-9)
        assert own.std() == pytest.approx(1, abs=1e-6)
        returns = losses.discounted_returns(torch.tensor(rewards), GAMMA)
        values = losses.baseline_values(torch.tensor(states), returns, torch.tensor(mask))
        raw = losses.generalised_advantages(torch.tensor(rewards), values, GAMMA, LAMBDA)[task].numpy()
        raw = raw[mask[task]]
        np.testing.assert_allclose(own, (raw - raw.mean()) / raw.std(), rtol=1e-6, atol=1e-7)


def test_the_inner_loss_is_that_of_a_loop():
    batch, policy = make_batch(), policies(3)
    found = losses.reinforce(policy, batch.actions, batch.advantages, batch.mask)
    for task in range(3):
        _, actions, advantages = one(batch, task)
        log_prob = distribution(policy, task, batch.mask).log_prob(actions).sum(1)
        terms = [float(p) * float(a) for p, a in zip(log_prob, advantages, strict=True)]
        assert found[task].item() == pytest.approx(-np.mean(terms))


def test_the_outer_loss_and_the_divergence_are_those_of_torchs_distributions():
    batch, new, old = make_batch(), policies(3), policies(4)
    found = losses.surrogate(new, old, batch.actions, batch.advantages, batch.mask)
    away = losses.divergence(new, old, batch.mask)
    for task in range(3):
        _, actions, advantages = one(batch, task)
        ours, theirs = (distribution(policy, task, batch.mask) for policy in (new, old))
        ratio = (ours.log_prob(actions).sum(1) - theirs.log_prob(actions).sum(1)).exp()
        assert found[task].item() == pytest.approx(-float((ratio * advantages).mean()))
        assert away[task].item() == pytest.approx(float(kl_divergence(ours, theirs).sum(1).mean()))
