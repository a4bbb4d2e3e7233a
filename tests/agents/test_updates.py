"""Whole updates against Stable-Baselines3's own `train` on the same policy, batch and random numbers."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch as th
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise

from hyperrl import HyperSAC, HyperTD3
from hyperrl.sb3 import HyperSACPolicy, HyperTD3Policy
from tests.sb3.toys import TINY, TINY_PAPER, PointEnv

PAIRS = {"td3": (HyperTD3, TD3, HyperTD3Policy), "sac": (HyperSAC, SAC, HyperSACPolicy)}
VARIANTS = [
    ("td3", TINY, {}),
    ("td3", TINY_PAPER, {}),
    ("td3", {**TINY, "condition": "action"}, {}),
    ("td3", TINY, {"n_steps": 3, "policy_delay": 1}),
    ("td3", TINY_PAPER, {"learning_rate": lambda remaining: 1e-3 * (0.5 + remaining)}),
    ("sac", TINY, {}),
    ("sac", TINY_PAPER, {"ent_coef": 0.2}),
    ("sac", {**TINY, "condition": "action"}, {"target_update_interval": 2}),
    ("sac", TINY, {"n_steps": 3, "ent_coef": "auto_0.1"}),
    ("sac", TINY, {"use_sde": True}),
]


def unpruned_forward(critic, observations, actions):
    """What `ContinuousCritic.forward` does: every gradient there is."""
    state = critic.extract_features(observations, critic.features_extractor)
    pairs = [(state, actions) if q.on_state else (actions, state) for q in critic.q_networks]
    return tuple(q.target(q.hyper(c), x) for q, (c, x) in zip(critic.q_networks, pairs, strict=True))


def prepared(cls, policy, critic, options, fused):
    """A model with forty random transitions and no update."""
    kwargs = {"critic": critic, "net_arch": [16], "optimizer_kwargs": {"fused": fused}}
    model = cls(
        policy,
        PointEnv(length=7),
        policy_kwargs=kwargs,
        learning_starts=1000,
        buffer_size=100,
        batch_size=16,
        seed=11,
        device="cpu",
        **{"learning_rate": 1e-3, **options},
    )
    return model.learn(40)


def trained(model, updates):
    np.random.seed(3)
    th.manual_seed(3)
    model.train(updates, 16)
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


@pytest.mark.parametrize("updates", [1, 5])
@pytest.mark.parametrize(("pair", "critic", "options"), VARIANTS)
def test_parameters_equal_those_of_stable_baselines3(pair, critic, options, updates):
    ours, theirs, policy = PAIRS[pair]
    model = prepared(ours, "MlpPolicy", critic, options, fused=True)
    oracle = prepared(theirs, policy, critic, options, fused=False)
    oracle.critic.forward = functools.partial(unpruned_forward, oracle.critic)
    oracle.critic.q1_forward = lambda observations, actions: oracle.critic(observations, actions)[0]
    start = {name: value.clone() for name, value in oracle.policy.state_dict().items()}
    found = trained(model, updates)
    drawn = th.rand(1), np.random.rand()
    expected = trained(oracle, updates)
    # Both have drawn equally many random numbers.
    assert (th.rand(1), np.random.rand()) == drawn
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=2e-6, err_msg=name)
    moved = [name for name in found if not th.equal(start[name], expected[name])]
    assert any(name.startswith("critic.q") for name in moved)
    if updates == 5:
        assert any(name.startswith("actor.") for name in moved)
        assert any(name.startswith("critic_target.") for name in moved)
    if pair == "sac" and model.log_ent_coef is not None:
        th.testing.assert_close(model.log_ent_coef, oracle.log_ent_coef)


@pytest.mark.parametrize("pair", list(PAIRS))
def test_several_updates_at_once_equal_one_after_another(pair):
    ours, _, _ = PAIRS[pair]
    first, second = (prepared(ours, "MlpPolicy", TINY, {}, fused=True) for _ in range(2))
    one = trained(first, 4)
    np.random.seed(3)
    th.manual_seed(3)
    for _ in range(4):
        second.train(1, 16)
    assert first._n_updates == second._n_updates == 4
    for name, value in second.policy.state_dict().items():
        assert th.equal(one[name], value)


@pytest.mark.parametrize("pair", list(PAIRS))
def test_a_whole_run_equals_stable_baselines3s(pair):
    ours, theirs, policy = PAIRS[pair]
    noise = {"action_noise": NormalActionNoise(np.zeros(2), np.full(2, 0.1))} if pair == "td3" else {}

    def run(cls, policy):
        kwargs = {"critic": TINY, "net_arch": [16]}
        sizes = {"learning_starts": 20, "batch_size": 16, "buffer_size": 100}
        model = cls(policy, PointEnv(), policy_kwargs=kwargs, seed=2, device="cpu", **sizes, **noise)
        return model.learn(60)

    found, expected = run(ours, "MlpPolicy"), run(theirs, policy)
    assert found._n_updates == expected._n_updates
    np.testing.assert_allclose(
        found.replay_buffer.actions[:60], expected.replay_buffer.actions[:60], rtol=1e-3, atol=1e-4
    )
    for one, other in zip(found.policy.parameters(), expected.policy.parameters(), strict=True):
        th.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_td3_delays_the_actor_and_the_targets():
    model = prepared(HyperTD3, "MlpPolicy", TINY, {"policy_delay": 3}, fused=True)

    def changed(updates):
        before = {name: value.clone() for name, value in model.policy.state_dict().items()}
        for _ in range(updates):
            model.train(1, 16)
        after = model.policy.state_dict()
        return {name.split(".")[0] for name in before if not th.equal(before[name], after[name])}

    assert changed(2) == {"critic"}
    assert changed(1) == {"critic", "actor", "critic_target", "actor_target"}
