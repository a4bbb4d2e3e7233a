"""The rollout buffer of several architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from hyperrl.errors import MixedTransitionsError
from hyperrl_agents.hyper_ppo.buffers import ArchitectureRolloutBuffer

STEPS, ENVS = 6, 4
NUMBERS = np.array([7, 3])


@pytest.fixture
def buffer():
    """A full rollout whose observations say which step and environment they are of."""
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    made = ArchitectureRolloutBuffer(STEPS, space, spaces.Box(-1, 1, (1,)), "cpu", 0.95, 0.99, ENVS)
    made.assign(np.repeat(NUMBERS, ENVS // 2))
    draws = np.random.default_rng(0)
    for step in range(STEPS):
        where = np.stack([np.full(ENVS, step), np.arange(ENVS)], 1).astype(np.float32)
        rewards = draws.normal(size=ENVS) * np.array([1, 1, 100, 100])
        made.add(where, np.zeros((ENVS, 1)), rewards, np.zeros(ENVS), th.zeros(ENVS), th.zeros(ENVS))
    made.compute_returns_and_advantage(th.zeros(ENVS), np.zeros(ENVS, bool))
    return made


def test_a_minibatch_has_as_many_of_each_and_each_transition_comes_once(buffer):
    seen = []
    for batch in buffer.stratified(NUMBERS, 8):
        assert batch.architectures.tolist() == [7] * 4 + [3] * 4
        environments = batch.observations[:, 1]
        assert (environments[:4] < 2).all()
        assert (environments[4:] >= 2).all()
        seen += [tuple(row) for row in batch.observations.tolist()]
    assert sorted(seen) == [(step, env) for step in range(STEPS) for env in range(ENVS)]


def test_the_last_minibatch_may_be_smaller(buffer):
    sizes = [len(batch.actions) for batch in buffer.stratified(NUMBERS, 10)]
    assert sizes == [10, 10, 4]


def test_epochs_come_in_different_orders(buffer):
    first, second = ([b.observations for b in buffer.stratified(NUMBERS, 8)] for _ in range(2))
    assert not th.equal(th.cat(first), th.cat(second))


def test_advantages_are_normalised_for_each_architecture(buffer):
    raw = buffer.advantages.copy()
    buffer.normalise_advantages(2)
    for block in (slice(0, 2), slice(2, 4)):
        own = raw[:, block].astype(np.float64)
        expected = (own - own.mean()) / (own.std(ddof=1) + 1e-8)
        assert np.allclose(buffer.advantages[:, block], expected, atol=1e-5)


def test_environments_in_another_order_are_refused(buffer):
    buffer.architectures = buffer.architectures[:, [0, 2, 1, 3]]
    with pytest.raises(MixedTransitionsError, match="architecture 7 are mixed"):
        next(buffer.stratified(NUMBERS, 8))


def test_a_reset_forgets_the_architectures(buffer):
    buffer.reset()
    assert (buffer.architectures == -1).all()
