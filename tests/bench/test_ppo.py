"""The benchmark of PPO: what it builds, times and judges."""

from __future__ import annotations

import csv
from functools import partial

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env as make_plain

from hyperrl.bench import ppo
from hyperrl.cli import main
from hyperrl_agents.compiled_ppo import CompiledPPO
from tests.sb3.toys import PointEnv


def small(cls, settings, seed):
    venv = make_plain(PointEnv, n_envs=ppo.N_ENVS, seed=seed)
    return cls("MlpPolicy", venv, seed=seed, device="cpu", policy_kwargs={"net_arch": [4]}, **settings)


NAMES = ("sb3", "compiled", "compiled, native environments")
PLAIN = {name: partial(small, PPO) for name in NAMES}


def test_a_row_for_each_variant_and_part_with_the_floor_at_the_whole_of_the_fastest():
    rows = ppo.measure(PLAIN, rounds=2, quick=True)
    assert [(row["variant"], row["part"]) for row in rows] == [(n, p) for n in NAMES for p in ppo.PARTS]
    assert all(row["speedup"] == 1 for row in rows[:3])
    assert [row["floor"] for row in rows] == [None] * 8 + [3.0]
    assert rows[-1]["met"] is False
    for row in rows:
        assert row["speedup_min"] <= row["speedup"] <= row["speedup_max"]
        assert row["against"] == "sb3"
        assert row["machine"]
    for part in (rows[:3], rows[3:6]):
        rollout, update, total = (1 / row["wall_steps_per_second"] for row in part)
        assert total == pytest.approx(rollout + update, rel=0.5)


def test_where_it_is_there_sbx_is_compared_with_too():
    rows = ppo.measure({**PLAIN, "sbx": partial(small, PPO)}, rounds=1, quick=True)
    assert len(rows) == 2 * 4 * 3
    assert [row["floor"] for row in rows if row["floor"]] == [3.0, 2.5]


def test_the_variants_differ_in_what_they_say():
    built = {name: build({"n_steps": 8}, 0) for name, build in ppo.variants().items() if name != "sbx"}
    assert list(built) == list(NAMES)
    assert type(built["sb3"]) is PPO
    for name in NAMES[1:]:
        assert type(built[name]) is CompiledPPO
        assert built[name].compile is True
    assert [type(model.env).__name__ for model in built.values()] == [
        "DummyVecEnv",
        "DummyVecEnv",
        "NativeMujocoVecEnv",
    ]
    assert {model.n_envs for model in built.values()} == {8}


def test_the_verb_writes_a_table_and_judges_only_what_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ppo, "variants", lambda: PLAIN)
    assert main(["bench", "ppo", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "ppo.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 9
    assert '"ppo.csv"' in (tmp_path / "manifest.json").read_text()
    monkeypatch.setattr(ppo, "_SETTINGS", ppo._QUICK)
    assert main(["bench", "ppo", "--rounds", "1", "--out", str(tmp_path)]) == 1
    assert "ppo.csv" in capsys.readouterr().out
