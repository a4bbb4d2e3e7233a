"""A critic's own learning rate, through everything that Stable-Baselines3 does to rates."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch as th
from stable_baselines3 import SAC, TD3

from hyperrl import HyperSAC, HyperTD3
from hyperrl.errors import ConfigError
from hyperrl.sb3 import HyperSACPolicy, HyperTD3Policy
from hyperrl.sb3.learning_rate import scale_learning_rate
from tests.sb3.toys import SMALL, TINY, TINY_PAPER, PointEnv

ALGORITHMS = {
    "HyperTD3": (HyperTD3, "MlpPolicy"),
    "HyperSAC": (HyperSAC, "MlpPolicy"),
    "TD3": (TD3, HyperTD3Policy),
    "SAC": (SAC, HyperSACPolicy),
}
algorithms = pytest.mark.parametrize("name", list(ALGORITHMS))


def daily(*names):
    """All algorithms, of which these are for every day: one of each learning rule, and one of each origin."""
    marks = {name: () if name in names else pytest.mark.slow for name in ALGORITHMS}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=mark) for name, mark in marks.items()])


def build(name, **kwargs):
    cls, policy = ALGORITHMS[name]
    kwargs = {
        "policy_kwargs": {"critic": TINY_PAPER, "net_arch": [8]},
        "learning_rate": 1e-3,
        **SMALL,
        **kwargs,
    }
    return cls(policy, PointEnv(), **kwargs)


def rates(model):
    return model.actor.optimizer.param_groups[0]["lr"], model.critic.optimizer.param_groups[0]["lr"]


@daily("HyperSAC", "TD3")
def test_the_papers_rate_survives_a_hundred_updates_saving_and_loading(name, tmp_path):
    model = build(name).learn(121)
    assert model._n_updates >= 100
    assert rates(model) == pytest.approx((1e-3, 5e-5))
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", env=PointEnv())
    assert rates(loaded) == pytest.approx((1e-3, 5e-5))
    loaded.learn(40)
    assert rates(loaded) == pytest.approx((1e-3, 5e-5))
    loaded.set_parameters(model.get_parameters())
    loaded.learn(40)
    assert rates(loaded) == pytest.approx((1e-3, 5e-5))


@daily("HyperTD3", "SAC")
def test_a_schedule_scales_the_critics_rate_along(name):
    seen = []

    def record(*_):
        seen.append((model._current_progress_remaining, *rates(model)))
        return True

    model = build(name, learning_rate=lambda remaining: 1e-3 * remaining)
    model.learn(121, callback=record)
    progress, actor, critic = zip(*seen[30:], strict=True)
    assert progress[0] > 0.7
    assert progress[-1] < 0.1
    assert actor == pytest.approx([1e-3 * p for p in progress])
    assert critic == pytest.approx([5e-5 * p for p in progress])


@algorithms
def test_a_new_rate_of_the_agent_after_loading_leaves_the_critics(name, tmp_path):
    build(name).learn(30).save(tmp_path / "model")
    changes = {"learning_rate": 3e-4, "lr_schedule": lambda _: 3e-4}
    loaded = ALGORITHMS[name][0].load(tmp_path / "model", env=PointEnv(), custom_objects=changes)
    loaded.learn(30)
    assert rates(loaded) == pytest.approx((3e-4, 5e-5))


@pytest.mark.parametrize("fused", [True, False])
@algorithms
def test_the_first_step_of_adam_is_as_long_as_the_rate(name, fused):
    kwargs = {"critic": TINY_PAPER, "net_arch": [8], "optimizer_kwargs": {"fused": fused}}
    model = build(name, policy_kwargs=kwargs, learning_starts=25)
    model.learn(25)
    before = [parameter.detach().clone() for parameter in model.critic.parameters()]
    model.train(1, 16)
    moved = [(p - b).abs().max().item() for p, b in zip(model.critic.parameters(), before, strict=True)]
    # Adam's first step is the rate times the sign of the gradient.
    assert max(moved) == pytest.approx(5e-5, rel=0.01)


def test_without_a_rate_of_its_own_the_critic_has_the_agents():
    model = build(
        "HyperTD3", policy_kwargs={"critic": TINY}, learning_rate=lambda remaining: remaining * 2e-3
    )
    model.learn(60)
    actor, critic = rates(model)
    assert critic == actor < 1e-3


@pytest.mark.parametrize("name", ["HyperTD3", "HyperSAC"])
def test_a_schedule_that_starts_at_zero_is_refused(name):
    with pytest.raises(ConfigError, match="must start above 0"):
        build(name, learning_rate=lambda remaining: 1e-3 * (1 - remaining))


def test_a_scaled_optimiser_keeps_its_factor_through_state_dicts_and_copies():
    parameter = th.nn.Parameter(th.ones(2))
    optimizer = th.optim.SGD([parameter], lr=1.0)
    scale_learning_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.25
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert copied.param_groups[0]["lr"] == 0.25
        copied.param_groups[0]["lr"] = 2.0
        assert copied.param_groups[0]["lr"] == 0.5
    optimizer.param_groups[0]["lr"] = 2.0
    parameter.grad = th.ones(2)
    optimizer.step()
    assert th.equal(parameter, th.full((2,), 0.5))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_the_optimiser_of_a_copied_policy_keeps_its_factor_through_state_dicts(copied):
    optimizer = copied(build("HyperTD3").policy).critic.optimizer
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == pytest.approx(5e-5)
    optimizer.param_groups[0]["lr"] = 1e-3
    assert optimizer.param_groups[0]["lr"] == pytest.approx(5e-5)


def test_other_entries_of_a_scaled_group_are_left_alone():
    optimizer = th.optim.Adam([th.nn.Parameter(th.ones(1))], lr=1.0)
    scale_learning_rate(optimizer, 0.5)
    optimizer.param_groups[0]["eps"] = 1.0
    assert optimizer.param_groups[0]["eps"] == 1.0


def test_a_scheduler_of_torch_assigns_rates_of_the_agent():
    optimizer = th.optim.SGD([th.nn.Parameter(th.ones(1))], lr=1.0)
    scheduler = th.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.1**epoch)
    scale_learning_rate(optimizer, 0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
