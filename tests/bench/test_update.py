"""The benchmark of gradient steps: what it builds, and how it judges."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from stable_baselines3 import SAC, TD3

from hyperrl.bench import update
from hyperrl.bench.naive import NaiveHyperCritic
from hyperrl.bench.update import Comparison, SpacesOnly, comparisons, fill, measure
from hyperrl_agents.hyper_td3 import HyperTD3


def small(limits: dict[str, float]) -> Comparison:
    def build(learning_rate: float):
        def make(device: str, seed: int) -> TD3:
            model = TD3(
                "MlpPolicy",
                SpacesOnly(),
                learning_rate=learning_rate,
                buffer_size=50,
                policy_kwargs={"net_arch": [4]},
                seed=seed,
                device=device,
            )
            fill(model.replay_buffer, seed)
            model._setup_learn(1)
            return model

        return make

    return Comparison("test", 4, {"base": build(1e-3), "other": build(1e-3)}, 2, limits)


def test_each_variant_gets_a_row_with_its_ratio_to_the_first():
    base, other = measure(small({"other": 1e9}), rounds=2)
    assert (base["variant"], other["variant"], other["baseline"]) == ("base", "other", "base")
    assert base["cpu_ratio"] == base["wall_ratio"] == 1.0
    assert other["cpu_ratio_min"] <= other["cpu_ratio"] <= other["cpu_ratio_max"]
    assert other["speedup"] == pytest.approx(1 / other["cpu_ratio"])
    assert (base["met"], other["met"]) == (None, True)


def test_a_missed_limit_is_said():
    assert measure(small({"other": 1e-9}), rounds=1)[1]["met"] is False


def test_the_comparisons_are_of_what_they_say():
    by_name = {(c.name, c.batch_size): c for c in comparisons()}
    paper = by_name["td3 paper vs naive", 100]
    assert (paper.limits["paper"], by_name["sac paper vs naive", 256].limits["paper"]) == (1 / 1.3, 1 / 1.5)
    fast = by_name["td3 fast and compact vs SB3", 256]
    assert fast.limits == {"fast": 1.3}
    assert all(comparison.steps % 2 == 0 for comparison in by_name.values())
    sb3, hyper = fast.variants["sb3"]("cpu", 0), fast.variants["fast"]("cpu", 0)
    assert type(sb3) is TD3
    assert type(hyper) is HyperTD3
    assert [layer.out_features for layer in sb3.critic.q_networks[0][::2]] == [256, 256, 1]
    # Both have the same actor and the same data to learn from.
    assert sum(p.numel() for p in sb3.actor.parameters()) == sum(p.numel() for p in hyper.actor.parameters())
    assert np.array_equal(sb3.replay_buffer.observations.astype(np.float32), hyper.replay_buffer.observations)
    assert isinstance(paper.variants["naive"]("cpu", 0).critic, NaiveHyperCritic)


def test_the_replay_data_are_bounded_actions_and_finite_numbers():
    model = small({}).variants["base"]("cpu", 0)
    batch = model.replay_buffer.sample(64)
    assert float(batch.actions.abs().max()) <= 1
    assert float(batch.observations.std()) == pytest.approx(1, abs=0.2)
    assert float(batch.rewards.std()) > 0


def test_where_it_is_there_sbx_is_compared_with_too(monkeypatch):
    names = [comparison.name for comparison in comparisons()]
    monkeypatch.setattr(update, "find_spec", lambda name: name == "sbx")
    monkeypatch.setitem(sys.modules, "sbx", SimpleNamespace(TD3=TD3, SAC=SAC))
    found = {comparison.name: comparison for comparison in comparisons()}
    assert set(found) - set(names) <= {"td3 compiled vs sbx", "sac compiled vs sbx"}
    for name, baseline in (("td3 compiled vs sbx", TD3), ("sac compiled vs sbx", SAC)):
        assert list(found[name].variants) == ["sbx", "compiled", "compiled, medium"]
        assert type(found[name].variants["sbx"]("cpu", 0)) is baseline
        assert found[name].limits == {"compiled": 1 / 1.2, "compiled, medium": 1 / 1.8}
