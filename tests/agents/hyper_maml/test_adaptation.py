"""Adapting to tasks never seen: what is learned from, what is forgotten, and that it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import HyperMAML
from hyperrl.errors import BoundsError, ContextError, ShapeError, StateError
from hyperrl.sb3.meta.adaptation import Adaptive, Transition
from hyperrl_agents.hyper_maml.batches import TaskBatch
from tests.agents.hyper_maml.test_agent import HYPER, MLP, build, observations, parameters
from tests.sb3.meta.reaching import ReachEnv

CONTEXTS = np.array([[0.8, 0.1], [-0.5, 0.9], [0.2, -0.9]])


def play(adaptation, explore, length=4, seed=0, playing=None, reward=lambda action: -(action**2).sum(1)):
    """An episode of random observations; returns its transitions."""
    rng = np.random.default_rng(seed)
    adaptation.begin_episode()
    steps = []
    for step in range(length):
        observed = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
        actions = adaptation.act(observed, explore=explore)
        going = np.ones(3, bool) if playing is None else playing[:, step]
        steps.append(Transition(observed, actions, reward(actions), observed, np.zeros(3, bool), going))
        adaptation.observe(steps[-1])
    return steps


def test_it_is_what_can_be_adapted():
    agent = build()
    assert isinstance(agent, Adaptive)
    before = parameters(agent)
    state = torch.get_rng_state()
    adaptation = agent.adaptation(CONTEXTS)
    for _ in range(2):
        play(adaptation, explore=True)
        adaptation.end_episode()
    assert torch.equal(before, parameters(agent))
    # Learning goes on as if nobody had adapted.
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("policy_kwargs", [HYPER, MLP])
def test_before_the_first_episode_it_acts_as_the_agent_does(policy_kwargs):
    agent = build(policy_kwargs=policy_kwargs)
    adaptation = agent.adaptation(CONTEXTS)
    seen = observations(3)
    seen[:, 2:] = [agent.observed.vector(context) for context in CONTEXTS]
    expected = agent.predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(adaptation.act(seen, explore=False), expected, atol=1e-6)


def test_after_an_episode_it_is_one_inner_step_away():
    """Against the step computed from the agent's own parts, with actions as they were drawn."""
    agent = build(policy_kwargs=MLP, inner_lr=0.5)
    adaptation = agent.adaptation(CONTEXTS)
    steps = play(adaptation, explore=True)
    drawn = [row[1] for row in adaptation._steps]
    assert any((np.abs(a) > 1).any() for a in drawn)
    adaptation.end_episode()
    states = np.stack([step.observations[:, :2] for step in steps], 1)[:, None]
    rewards = np.stack([step.rewards for step in steps], 1)[:, None]
    actions, mask = np.stack(drawn, 1)[:, None], np.ones((3, 1, 4), bool)
    batch = TaskBatch.of(states, actions, rewards, mask, **agent.batch_settings)
    expected = agent.adapted_weights(agent.conditions(CONTEXTS), [batch])
    seen = torch.tensor(observations(3)[:, None, :2])
    mean = agent.policy.actor.gaussian(expected, seen).mean[:, 0].detach().numpy()
    found = adaptation.act(observations(3), explore=False)
    np.testing.assert_allclose(found, np.clip(mean, -1, 2), atol=1e-6)
    plain = adaptation.specialise(1)
    np.testing.assert_allclose(plain(observations(3)[1:2, :2])[0], found[1], atol=1e-5)


def test_data_are_played_by_the_policy_before_the_inner_step():
    agent = build(policy_kwargs=MLP, inner_lr=0.5)
    adapted, fresh = agent.adaptation(CONTEXTS), agent.adaptation(CONTEXTS)
    play(adapted, explore=True)
    play(fresh, explore=True)
    adapted.end_episode()
    seen = observations(3)
    # The same noise comes next in both.
    np.testing.assert_array_equal(adapted.act(seen, explore=True), fresh.act(seen, explore=True))
    assert not np.array_equal(adapted.act(seen, explore=False), fresh.act(seen, explore=False))


def test_episodes_that_are_only_evaluated_are_not_learned_from():
    agent = build(policy_kwargs=MLP, inner_lr=0.5)
    adaptation, other = agent.adaptation(CONTEXTS), agent.adaptation(CONTEXTS)
    play(adaptation, explore=True)
    play(other, explore=True)
    adaptation.end_episode()
    other.end_episode()
    snapshot = adaptation.snapshot()
    for seed in (1, 2):
        play(adaptation, explore=False, seed=seed)
    adaptation.restore(snapshot)
    for one in (adaptation, other):
        play(one, explore=True, seed=7)
        one.end_episode()
    seen = observations(3)
    np.testing.assert_array_equal(adaptation.act(seen, explore=False), other.act(seen, explore=False))


def test_a_snapshot_goes_back_over_what_was_learned():
    agent = build(policy_kwargs=MLP, inner_lr=0.5)
    adaptation, seen = agent.adaptation(CONTEXTS), observations(3)
    snapshot = adaptation.snapshot()
    before = adaptation.act(seen, explore=False)
    play(adaptation, explore=True)
    adaptation.end_episode()
    assert not np.array_equal(adaptation.act(seen, explore=False), before)
    adaptation.restore(snapshot)
    np.testing.assert_array_equal(adaptation.act(seen, explore=False), before)


def test_what_comes_behind_an_episodes_end_makes_no_difference():
    agent = build(policy_kwargs=MLP, inner_lr=0.5)
    playing = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], bool)
    results = []
    for late in (0.0, 1e3):
        adaptation, count = agent.adaptation(CONTEXTS), iter(range(4))

        def reward(action, late=late, count=count):
            step = next(count)
            return np.where(playing[:, step], -(action**2).sum(1), late)

        play(adaptation, explore=True, playing=playing, reward=reward)
        adaptation.end_episode()
        results.append(adaptation.act(observations(3), explore=False))
    np.testing.assert_array_equal(*results)


def test_without_inner_steps_nothing_adapts():
    agent = build(policy_kwargs=MLP, inner_steps=0)
    adaptation, seen = agent.adaptation(CONTEXTS), observations(3)
    before = adaptation.act(seen, explore=False)
    play(adaptation, explore=True)
    adaptation.end_episode()
    np.testing.assert_array_equal(adaptation.act(seen, explore=False), before)


def test_what_cannot_be_adapted_to_is_refused():
    agent = build()
    with pytest.raises(ContextError, match="no task to adapt to"):
        agent.adaptation(np.zeros((0, 2)))
    with pytest.raises(BoundsError, match="x must be from -2 to 2"):
        agent.adaptation(np.array([[3.0, 0.0]]))
    adaptation = agent.adaptation(CONTEXTS)
    with pytest.raises(StateError, match="nothing to adapt to"):
        adaptation.end_episode()
    with pytest.raises(ShapeError, match="3 tasks, but 2 observations"):
        adaptation.act(observations(2), explore=True)
    with pytest.raises(ShapeError, match="numbered from 0, got 3"):
        adaptation.specialise(3)
    transition = Transition(observations(3), np.zeros((3, 2)), np.zeros(3), None, np.zeros(3), np.ones(3))
    with pytest.raises(StateError, match="call act first"):
        adaptation.observe(transition)
    play(adaptation, explore=True, playing=np.array([[1] * 4, [0] * 4, [1] * 4], bool))
    with pytest.raises(StateError, match="nothing to adapt to"):
        adaptation.end_episode()


def mean_return(agent, contexts, episodes, act):
    """Mean return of each task, played by its actions."""
    totals = np.zeros(len(contexts))
    env = make_vec_env(ReachEnv, n_envs=len(contexts), seed=9)
    for index, context in enumerate(contexts):
        env.env_method("set_fixed_context", context, indices=[index])
    for _ in range(episodes):
        seen = env.reset()
        for _ in range(6):
            seen, rewards, _, _ = env.step(act(seen))
            totals += rewards
    return totals / episodes


def test_plain_maml_learns_to_adapt():
    """Blind to the goal, the best that it can do at first is to stay in the middle, which is about -4."""
    env = make_vec_env(ReachEnv, n_envs=8, seed=0)
    sizes = {"meta_batch_size": 16, "episodes_per_task": 8}
    agent = HyperMAML("MlpPolicy", env, policy_kwargs=MLP, seed=0, device="cpu", **sizes).learn(16_000)
    env = make_vec_env(ReachEnv, n_envs=8, seed=5)
    contexts = env.get_attr("splits")[0].contexts("interpolation")[:8]
    adaptation = agent.adaptation(contexts)

    def evaluated():
        return mean_return(agent, contexts, 2, lambda seen: adaptation.act(seen, explore=False)).mean()

    before = evaluated()
    for index, context in enumerate(contexts):
        env.env_method("set_fixed_context", context, indices=[index])
    never = np.zeros(8, bool)
    for _ in range(8):
        seen = env.reset()
        adaptation.begin_episode()
        for _ in range(6):
            actions = adaptation.act(seen, explore=True)
            following, rewards, *_ = env.step(actions)
            adaptation.observe(Transition(seen, actions, rewards, following, never, ~never))
            seen = following
        adaptation.end_episode()
    after = evaluated()
    assert after > before + 1
    assert after > -2.5


def test_a_generated_policy_learns_all_tasks_at_once():
    env = make_vec_env(ReachEnv, n_envs=8, seed=0)
    actor = {"actor": {"kind": "hyper", "hidden": [16], "trunk_hidden": [32]}}
    sizes = {"meta_batch_size": 16, "episodes_per_task": 4, "inner_steps": 0}
    agent = HyperMAML("MlpPolicy", env, policy_kwargs=actor, seed=0, device="cpu", **sizes)
    tests = env.get_attr("splits")[0].contexts("interpolation")[:8]

    def evaluated():
        return mean_return(agent, tests, 2, lambda seen: agent.predict(seen, deterministic=True)[0]).mean()

    before = evaluated()
    agent.learn(8_000)
    # Staying in the middle is -4; the fastest way to every goal about -1.
    assert before < -3
    assert evaluated() > -2
