"""One call of the GRU for all sequences is the loop over steps, whatever trials begin in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch as th

from hyperrl_agents.recurrent_hyper.latents import LatentNormaliser
from hyperrl_agents.recurrent_hyper.segments import Segments
from tests.agents.recurrent_hyper.small import build, features_of, moved


def loop(encoder, features, hidden):
    """What is remembered at each step, one after the other and one sequence at a time."""
    outputs = []
    for env in range(features.shape[1]):
        kept, of_env = hidden[env : env + 1], []
        for step in range(len(features)):
            kept = encoder.step(features[step, env : env + 1], kept)
            of_env.append(kept[0])
        outputs.append(th.stack(of_env))
    return th.stack(outputs, dim=1)


@pytest.mark.parametrize("starts", [0.0, 0.2, 1.0])
def test_one_call_is_the_loop_with_its_gradients(starts):
    policy = moved(build().policy.double())
    encoder = policy.encoder
    features = features_of(policy, 11, 5, starts).requires_grad_()
    hidden = th.randn(5, encoder.hidden_size, dtype=th.double, requires_grad=True)
    given, expected = encoder.sequences(features, hidden), loop(encoder, features, hidden)
    assert th.allclose(given, expected, atol=1e-12)
    weights = th.randn_like(given)
    inputs = [features, hidden, *encoder.gru.parameters(), *encoder.state.parameters()]
    gradients = [list(th.autograd.grad((outputs * weights).sum(), inputs)) for outputs in (given, expected)]
    for of_features, *_ in gradients:
        # Whether a trial begins is no number to learn by.
        of_features[..., policy.columns.places["start"]] = 0
    for one, other in zip(*gradients, strict=True):
        assert th.allclose(one, other, atol=1e-10)


def test_nothing_is_remembered_beyond_the_beginning_of_a_trial():
    policy = moved(build().policy.double())
    features = features_of(policy, 8, 1, 0.0)
    features[4, :, policy.columns.places["start"].start] = 1
    hidden = th.zeros(1, policy.encoder.hidden_size, dtype=th.double)
    expected = policy.encoder.sequences(features, hidden)
    features[:4] += 1
    given = policy.encoder.sequences(features, hidden + 1)
    assert not th.isclose(given[:4], expected[:4]).all()
    assert th.equal(given[4:], expected[4:])


@pytest.mark.parametrize("seed", range(5))
def test_segments_cut_where_trials_begin_and_nowhere_else(seed):
    starts = np.random.default_rng(seed).random((9, 4)) < 0.3
    segments = Segments.of(starts)
    rows = segments.rows.numpy()
    placed = rows.reshape(-1)[segments.places.numpy()]
    assert placed.tolist() == list(range(36))
    pieces = []
    for env in range(4):
        cuts = [0, *(np.flatnonzero(starts[1:, env]) + 1), 9]
        pieces += [[4 * step + env for step in range(a, b)] for a, b in pairwise(cuts)]
    assert [rows[: len(piece), column].tolist() for column, piece in enumerate(pieces)] == pieces
    assert segments.sequences.tolist() == [piece[0] % 4 for piece in pieces]
    assert segments.continues.tolist() == [piece[0] < 4 and not starts[0, piece[0]] for piece in pieces]


def test_the_gru_starts_orthogonal_without_biases():
    gru = build().policy.encoder.gru
    assert th.allclose(gru.weight_hh_l0.t() @ gru.weight_hh_l0, th.eye(6), atol=1e-5)
    assert not gru.bias_hh_l0.any()
    assert not gru.bias_ih_l0.any()


def test_running_statistics_are_those_of_all_latents():
    normaliser = LatentNormaliser(3)
    latents = 4 * th.randn(50, 3).double() + 2
    assert th.allclose(normaliser(latents), latents.clamp(-10, 10))
    for part in latents.split([1, 20, 29]):
        normaliser.count(part)
    expected = (latents - latents.mean(0)) / latents.std(0, correction=0)
    assert th.allclose(normaliser(latents), expected, atol=1e-6)


def test_acting_step_by_step_is_what_updates_evaluate():
    agent = build()
    policy = moved(agent.policy)
    features, hidden = features_of(policy, 7, 4), th.randn(4, 6)
    latents, kept, acted = policy.latents_of(features, hidden), hidden, []
    for step in range(7):
        kept_before = kept
        actions, values, log_probs, kept = policy.act(features[step], kept)
        acted.append((actions, values[:, 0], log_probs))
        assert th.allclose(policy.values_of(features[step], kept_before), values, atol=1e-6)
    actions, values, log_probs = (th.cat(column) for column in zip(*acted, strict=True))
    given = policy.evaluate(features.flatten(0, 1), latents.flatten(0, 1), actions)
    assert th.allclose(given[0], values, atol=1e-5)
    assert th.allclose(given[1], log_probs, atol=1e-4)
    deviation = policy.log_std.exp().expand(28, -1)
    expected = th.distributions.Normal(th.zeros_like(deviation), deviation).entropy().sum(1)
    assert th.allclose(given[2], expected, atol=1e-5)
