"""The losses against loops over rows, written from the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch as th

from hyperrl_agents.compiled_sac import losses as sac
from hyperrl_agents.compiled_td3 import losses as td3

ROWS = 6


@pytest.fixture
def batch():
    th.manual_seed(0)
    return {
        "rewards": th.randn(ROWS, 1),
        "dones": th.tensor([[0.0], [1.0]] * (ROWS // 2)),
        "values": [th.randn(ROWS, 1) for _ in range(3)],
        "target": th.randn(ROWS, 1),
        "log_prob": th.randn(ROWS, 1),
    }


@pytest.mark.parametrize("discounts", [0.9, th.full((ROWS, 1), 0.9) ** th.arange(1, ROWS + 1).unsqueeze(1)])
def test_td3s_target(batch, discounts):
    found = td3.td_target(batch["rewards"], batch["dones"], discounts, batch["values"])
    for row in range(ROWS):
        gamma = discounts if isinstance(discounts, float) else discounts[row].item()
        expected = batch["rewards"][row].item()
        if not batch["dones"][row]:
            expected += gamma * min(value[row].item() for value in batch["values"])
        assert found[row].item() == pytest.approx(expected, rel=1e-5)


def test_sacs_target(batch):
    alpha = 0.3
    found = sac.td_target(
        batch["rewards"], batch["dones"], 0.9, batch["values"], batch["log_prob"].squeeze(1), th.tensor(alpha)
    )
    for row in range(ROWS):
        soft = min(value[row].item() for value in batch["values"]) - alpha * batch["log_prob"][row].item()
        expected = batch["rewards"][row].item() + (0 if batch["dones"][row] else 0.9 * soft)
        assert found[row].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("losses", "factor"), [(td3, 1.0), (sac, 0.5)])
def test_critic_losses(batch, losses, factor):
    expected = sum(
        (value[row].item() - batch["target"][row].item()) ** 2 / ROWS
        for value in batch["values"]
        for row in range(ROWS)
    )
    assert losses.critic_loss(batch["values"], batch["target"]).item() == pytest.approx(factor * expected)


def test_actor_losses(batch):
    first = [value.item() for value in batch["values"][0]]
    assert td3.actor_loss(batch["values"][0]).item() == pytest.approx(-sum(first) / ROWS)
    alpha = 0.3
    expected = [
        alpha * batch["log_prob"][row].item() - min(value[row].item() for value in batch["values"])
        for row in range(ROWS)
    ]
    found = sac.actor_loss(batch["values"], batch["log_prob"], th.tensor(alpha))
    assert found.item() == pytest.approx(sum(expected) / ROWS)


def test_the_temperature_rises_where_entropy_is_too_low():
    log_alpha, log_prob = th.tensor([math.log(0.5)], requires_grad=True), th.full((4, 1), 3.0)
    loss = sac.temperature_loss(log_alpha, log_prob, -2.0)
    assert loss.item() == pytest.approx(-math.log(0.5) * (3 - 2))
    loss.backward()
    # Entropy is -3, below the target of -2: gradient descent has to raise alpha.
    assert log_alpha.grad.item() == pytest.approx(-1.0)


def test_target_smoothing_clips_the_noise_and_then_the_action():
    actions = th.tensor([[0.0, 0.9, -0.9]])
    noise = th.tensor([[0.2, 0.7, -0.05]])
    found = td3.smoothed_actions(actions, noise, 0.5)
    th.testing.assert_close(found, th.tensor([[0.2, 1.0, -0.95]]))
