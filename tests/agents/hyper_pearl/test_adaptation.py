"""Adapting to tasks: the posterior of all episodes, latents that last an episode, plain policies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperrl.errors import (
    BoundsError,
    ConfigError,
    ContextError,
    NonFiniteError,
    ShapeError,
)
from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.meta.adaptation import Adaptive, Transition
from hyperrl_agents.hyper_pearl.losses import product_of_gaussians
from tests.agents.hyper_pearl.building import build, oracle

TASKS = np.array([[0.5, 0.5], [-0.5, 0.2], [0.0, -0.9]])
N = len(TASKS)


@pytest.fixture(scope="module")
def agent():
    made = build().learn(40)
    # A posterior that is far from the prior after a few steps.
    with torch.no_grad():
        made.policy.encoder.net.layers[-1].weight.mul_(200)
    return made


def step(seed=0, playing=(True,) * N):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(N, 2)).astype(np.float32)
    actions = rng.uniform(-1, 2, (N, 2)).astype(np.float32)
    rewards, ended = rng.normal(size=N).astype(np.float32), np.zeros(N, bool)
    return Transition(states, actions, rewards, states + 1, ended, np.array(playing))


def posterior_of(agent, steps, task):
    """Of the steps of one task in a row, by the encoder at once."""
    rows = []
    for one in steps:
        if one.playing[task]:
            scaled = (one.actions[task] + 1) / 1.5 - 1
            rows.append(np.concatenate([one.observations[task], scaled, one.rewards[task, None]]))
    with torch.no_grad():
        factors = agent.policy.encoder.factors(torch.tensor(np.stack(rows), dtype=torch.float32))
        return [part.numpy() for part in product_of_gaussians(*factors)]


def played(adaptation, steps):
    adaptation.begin_episode()
    for one in steps:
        adaptation.observe(one)
    adaptation.end_episode()


def test_the_posterior_is_that_of_all_steps_of_all_episodes(agent):
    adaptation = agent.adaptation(TASKS)
    assert isinstance(agent, Adaptive)
    np.testing.assert_array_equal(adaptation.posterior[0], 0)
    np.testing.assert_array_equal(adaptation.posterior[1], 1)
    first, second = [step(seed) for seed in range(4)], [step(9), step(10, (True, False, True))]
    played(adaptation, first)
    played(adaptation, second)
    mean, variance = adaptation.posterior
    for task in range(N):
        expected = posterior_of(agent, first + second, task)
        np.testing.assert_allclose(mean[task], expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(variance[task], expected[1], rtol=1e-4)


def test_a_task_without_a_step_stays_at_the_prior_while_others_learn(agent):
    adaptation = agent.adaptation(TASKS)
    played(adaptation, [step(0, (True, False, True))])
    mean, variance = adaptation.posterior
    np.testing.assert_array_equal(mean[1], 0)
    np.testing.assert_array_equal(variance[1], 1)
    np.testing.assert_allclose(mean[2], posterior_of(agent, [step(0)], 2)[0], rtol=1e-4, atol=1e-6)
    played(adaptation, [step(1)])
    mean, _ = adaptation.posterior
    np.testing.assert_allclose(mean[1], posterior_of(agent, [step(1)], 1)[0], rtol=1e-4, atol=1e-6)


def test_evaluation_acts_by_the_mean_of_the_posterior(agent):
    adaptation = agent.adaptation(TASKS)
    states = step(5).observations
    zero_shot = adaptation.act(states, explore=False)
    np.testing.assert_allclose(zero_shot, agent.predict(states, deterministic=True)[0], atol=1e-6)
    played(adaptation, [step(seed) for seed in range(6)])
    after = adaptation.act(states, explore=False)
    assert np.abs(after - zero_shot).max() > 1e-4
    for task in range(N):
        plain = adaptation.specialise(task)
        assert isinstance(plain, PlainPolicy)
        assert plain.sizes == (2, 8, 2)
        np.testing.assert_allclose(plain(states[task]), after[task], atol=1e-5)


def explored(adaptation):
    return adaptation._explored.numpy().copy()


def test_exploration_keeps_a_latent_of_the_prior_then_of_the_posterior_for_an_episode(agent):
    adaptation = agent.adaptation(TASKS)
    drawn = []
    for episode in range(4):
        torch.manual_seed(episode)
        adaptation.begin_episode()
        torch.manual_seed(episode)
        noise = torch.randn(N, 5).numpy()
        mean, variance = adaptation.posterior
        expected = noise if episode < 2 else mean + np.sqrt(variance) * noise
        np.testing.assert_allclose(explored(adaptation), expected, rtol=1e-5)
        drawn.append(adaptation.act(step(7).observations, explore=True))
        again = adaptation.act(step(7).observations, explore=True)
        np.testing.assert_array_equal(drawn[-1], again)
        adaptation.observe(step(episode))
        adaptation.end_episode()
    assert len({one.tobytes() for one in drawn}) == 4


def test_a_snapshot_takes_back_what_an_evaluated_episode_saw(agent):
    adaptation = agent.adaptation(TASKS)
    played(adaptation, [step(0)])
    known, before = adaptation.snapshot(), adaptation.posterior
    played(adaptation, [step(1)])
    assert not np.array_equal(before[0], adaptation.posterior[0])
    adaptation.restore(known)
    adaptation.observe(step(2))
    adaptation.restore(known)
    np.testing.assert_array_equal(before[0], adaptation.posterior[0])
    with pytest.raises(ConfigError, match="nothing to adapt to"):
        adaptation.end_episode()
    played(adaptation, [step(3)])
    expected = posterior_of(agent, [step(0), step(3)], 0)[0]
    np.testing.assert_allclose(adaptation.posterior[0][0], expected, rtol=1e-4, atol=1e-6)


def test_adapting_leaves_the_agent_alone(agent):
    before = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    drawn = agent._rng.bit_generator.state
    played(agent.adaptation(TASKS), [step(0)])
    assert all(torch.equal(value, agent.policy.state_dict()[name]) for name, value in before.items())
    assert agent._rng.bit_generator.state == drawn


def test_next_states_are_seen_where_they_are_asked_for():
    agent = build(policy_kwargs={"next_states": True}).learn(40)
    with torch.no_grad():
        agent.policy.encoder.net.layers[-1].weight.mul_(200)
    means = []
    for shift in (0.0, 3.0):
        adaptation = agent.adaptation(TASKS)
        one = step(0)
        played(adaptation, [one._replace(next_observations=one.next_observations + shift)])
        means.append(adaptation.posterior[0])
    assert np.abs(means[0] - means[1]).max() > 1e-3


def test_predict_and_export_act_by_the_latent_that_they_are_given(agent):
    states = step(5).observations
    adaptation = agent.adaptation(TASKS)
    played(adaptation, [step(seed) for seed in range(6)])
    before, _ = agent.predict(states, deterministic=True)
    agent.set_latent(adaptation.posterior[0][1])
    found, _ = agent.predict(states, deterministic=True)
    np.testing.assert_allclose(found[1], adaptation.act(states, explore=False)[1], atol=1e-6)
    np.testing.assert_allclose(agent.specialise()(states), found, atol=1e-5)
    agent.set_latent(None)
    np.testing.assert_array_equal(agent.predict(states, deterministic=True)[0], before)
    with pytest.raises(ShapeError, match=r"a latent has 5 numbers, got shape \(4,\)"):
        agent.set_latent(np.zeros(4))
    with pytest.raises(NonFiniteError, match="a latent must be finite"):
        agent.set_latent([np.nan] * 5)


def test_predict_notices_that_the_networks_have_learned(agent):
    other = build().learn(30)
    states = step(5).observations
    before, _ = other.predict(states, deterministic=True)
    with torch.no_grad():
        for parameter in other.policy.actor.parameters():
            parameter.add_(0.1)
    after, _ = other.predict(states, deterministic=True)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, other.specialise()(states), atol=1e-5)


@pytest.mark.parametrize(("policy", "append"), [("MlpPolicy", "flat"), ("MultiInputPolicy", "dict")])
@pytest.mark.parametrize("networks", ["hyper", "mlp"])
def test_an_oracle_acts_by_the_context_from_the_first_step(policy, append, networks):
    agent = oracle(policy=policy, env_kwargs={"append": append}, policy_kwargs={"networks": networks}).learn(
        40
    )
    states = step(5).observations
    adaptation = agent.adaptation(TASKS)
    seen = [agent.complete(states[task : task + 1], TASKS[task]) for task in range(N)]
    if append == "dict":
        together = {key: np.concatenate([one[key] for one in seen]) for key in seen[0]}
    else:
        together = np.concatenate(seen)
    expected, _ = agent.predict(together, deterministic=True)
    played(adaptation, [step(0)])
    np.testing.assert_allclose(adaptation.act(together, explore=True), expected, atol=1e-6)
    for task in range(N):
        for plain in (
            adaptation.specialise(task),
            agent.specialise({"x": TASKS[task, 0], "y": TASKS[task, 1]}),
        ):
            np.testing.assert_allclose(plain(states[task]), expected[task], atol=1e-5)
    with pytest.raises(ContextError, match="acts by the context: give one"):
        agent.specialise()
    with pytest.raises(ConfigError, match="no latent to set"):
        agent.set_latent(None)


def test_wrong_tasks_and_observations_are_refused(agent):
    with pytest.raises(BoundsError):
        agent.adaptation(np.array([[0.0, 5.0]]))
    with pytest.raises(ContextError, match="no task to adapt to"):
        agent.adaptation(np.zeros((0, 2)))
    adaptation = agent.adaptation(TASKS)
    with pytest.raises(ShapeError, match="there are 3 tasks to adapt to, but observations of 2"):
        adaptation.act(np.zeros((2, 2), np.float32), explore=False)
    with pytest.raises(ConfigError, match="call observe after each step"):
        adaptation.end_episode()
