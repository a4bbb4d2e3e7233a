"""Whole trials are kept as they were, and VariBAD's bound is that of a loop over them."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from torch.distributions import Normal, kl_divergence

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl_agents.recurrent_hyper.elbo import bound_loss
from hyperrl_agents.recurrent_hyper.trajectories import TrialBuffer, Trials
from tests.agents.recurrent_hyper.small import build, features_of, moved

ELBO = {"reward_decoder": [5], "state_decoder": [4], "state_weight": 0.3, "kl_weight": 0.2}


def varibad(**elbo):
    return build(encoder="varibad", elbo_kwargs={**ELBO, **elbo})


def trials_of(policy, lengths):
    steps, count = max(lengths), len(lengths)
    features, following = (features_of(policy, steps, count, 0.0) for _ in range(2))
    features[0, :, policy.columns.places["start"].start] = 1
    return Trials(features, following, th.tensor(lengths))


def test_the_bound_is_that_of_a_loop_over_posteriors_and_steps(monkeypatch):
    policy = moved(varibad().policy.double())
    trials = trials_of(policy, [5, 3])
    monkeypatch.setattr(th, "randn_like", th.zeros_like)  # Every latent is its mean.
    parts = bound_loss(policy, trials)
    columns, total, rewards, states, divergences = policy.columns, 0.0, 0.0, 0.0, 0.0
    for trial, length in enumerate([5, 3]):
        hidden = th.zeros(1, 6, dtype=th.double)
        before = Normal(th.zeros(1, 3, dtype=th.double), 1.0)
        for term in range(length):
            hidden = policy.encoder.step(trials.features[term, trial : trial + 1], hidden)
            mean, log_variance = policy.encoder.mean(hidden), policy.encoder.log_variance(hidden)
            posterior = Normal(mean, (0.5 * log_variance).exp())
            divergence = float(kl_divergence(posterior, before).sum().detach())
            before, divergences = posterior, divergences + divergence / 8
            total += 0.2 * divergence / 8
            for step in range(length):
                now, then = trials.features[step, trial], trials.next_features[step, trial]
                action = columns.action(then) / 2  # The largest action there is.
                inputs = [mean[0], columns.state(now), action, columns.state(then)]
                reward = (policy.decoders.reward(th.cat(inputs)) - columns.reward(then)).square().mean()
                after = policy.decoders.next_state(th.cat(inputs[:-1])) - columns.state(then)
                total += float((reward + 0.3 * after.square().mean()).detach()) / 8
                rewards += float(reward.detach()) / (25 + 9)
                states += float(after.square().mean().detach()) / (25 + 9)
    assert float(parts["loss"].detach()) == pytest.approx(total)
    assert float(parts["reward_loss"]) == pytest.approx(rewards)
    assert float(parts["state_loss"]) == pytest.approx(states)
    assert float(parts["kl_divergence"]) == pytest.approx(divergences)


def test_terms_that_are_drawn_are_the_bound_in_the_mean(monkeypatch):
    monkeypatch.setattr(th, "randn_like", th.zeros_like)
    agent = varibad()
    policy = moved(agent.policy)
    trials = trials_of(policy, [6, 6])
    whole = float(bound_loss(policy, trials)["loss"].detach())
    object.__setattr__(policy.elbo, "terms", 2)
    drawn = [float(bound_loss(policy, trials)["loss"].detach()) for _ in range(200)]
    assert np.std(drawn) > 0
    error = np.std(drawn) / len(drawn) ** 0.5
    assert np.mean(drawn) == pytest.approx(whole, abs=4 * error)


def test_the_bound_trains_encoder_and_decoders_and_the_policy_neither():
    agent = varibad()
    policy = agent.policy
    modelled = {id(one) for one in [*policy.encoder.parameters(), *policy.decoders.parameters()]}
    of_model = {id(one) for group in policy.elbo_optimizer.param_groups for one in group["params"]}
    of_policy = {id(one) for group in policy.optimizer.param_groups for one in group["params"]}
    assert of_model == modelled
    assert of_policy == {id(one) for one in policy.parameters()} - modelled
    features = features_of(policy, 5, 2)
    latents = policy.latents_of(features, policy.encoder.nothing(2))
    assert not latents.requires_grad


def rows(trial, step):
    return np.array([trial, step], np.float32)


def test_whole_trials_are_kept_across_rollouts_and_the_newest_of_them():
    buffer = TrialBuffer(3, 1, 2)
    lengths, steps = [3, 4, 2, 5, 3], []
    for trial, length in enumerate(lengths):
        steps += [(trial, step) for step in range(length)]
    features = np.stack([rows(*step) for step in steps])[:, None]
    starts = np.array([step == 0 for _, step in steps] + [False])[:, None]
    for begin in range(0, 16, 4):
        end = begin + 4
        buffer.add(features[begin:end], 100 + features[begin:end], starts[begin : end + 1])
    # The last trial has two of its three steps.
    assert len(buffer) == 3
    trials = buffer.sample(9, th.device("cpu"))
    assert sorted(trials.lengths.tolist()) == [2, 4, 5]
    for column, length in enumerate(trials.lengths.tolist()):
        trial = lengths.index(length)
        expected = np.stack([rows(trial, step) for step in range(length)])
        assert np.array_equal(trials.features[:length, column], expected)
        assert np.array_equal(trials.next_features[:length, column], 100 + expected)
        assert not trials.features[length:, column].any()
    other = TrialBuffer(3, 1, 2)
    other.restore(buffer.state())
    for one in (buffer, other):
        one.add(features[16:], features[16:], np.array([[False], [True]]))
    newest = [one.state()["whole"] for one in (buffer, other)]
    assert newest[0]["lengths"].tolist() == [2, 5, 3]
    assert np.array_equal(newest[0]["rows"], newest[1]["rows"])


def test_a_trial_that_was_given_up_is_not_kept():
    buffer = TrialBuffer(3, 1, 1)
    part = np.ones((2, 1, 1), np.float32)
    buffer.add(part, part, np.array([[True], [False], [False]]))
    # The environment was reset: a trial begins though the last one had no end.
    buffer.add(2 * part, part, np.array([[True], [False], [True]]))
    assert buffer.state()["whole"]["rows"][:, 0].tolist() == [2, 2]


def test_what_a_rollout_leaves_is_what_the_environments_gave():
    agent = varibad()
    agent.learn(16 * 4)
    columns, trials = agent.policy.columns, agent.task_model.trials.state()
    place = {key: columns.places[key] for key in ("observation", "action", "reward", "episode")}
    size = columns.places["start"].stop
    assert len(trials["whole"]["lengths"]) > 2
    for row in trials["whole"]["rows"]:
        now, then = row[:size], row[size:]
        # ReachEnv: a step is 0.3 times the action.
        moved_by = then[place["observation"]] - now[place["observation"]]
        assert np.allclose(moved_by, 0.3 * then[place["action"]], atol=1e-5)
        assert then[place["reward"]] < 0


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ({"elbo_kwargs": {"kl_wait": 1.0}}, UnknownNameError, "kl_weight"),
        ({"elbo_kwargs": {"trials": 0}}, ConfigError, "elbo_kwargs.trials"),
        ({"elbo_kwargs": {"learning_rate": 2.0}}, ConfigError, "elbo_kwargs.learning_rate"),
        ({"elbo_kwargs": {"reward_decoder": 4}}, ConfigError, "list of sizes"),
        ({"elbo_kwargs": {"terms": 4}, "encoder": "rl2"}, ConfigError, "leave them out"),
        ({"encoder": "pearl"}, UnknownNameError, "encoder"),
    ],
)
def test_wrong_settings(setting, error, words):
    with pytest.raises(error, match=words):
        build(**{"encoder": "varibad", **setting})
