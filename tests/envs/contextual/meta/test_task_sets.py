"""Sets of tasks: finite pools apart from one another, and combinations that training leaves out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hyperrl.context import MODES, Splits
from hyperrl.environments import make_env
from hyperrl.errors import ContextError
from hyperrl_envs.contextual import suite_of
from hyperrl_envs.contextual.ids import META

TWO_TASKS = {"hyperrl/HalfCheetahDir-v0", "hyperrl/AntDirLegacy-v0"}


@pytest.mark.parametrize("env_id", META)
def test_pools_are_finite_apart_and_the_same_after_json(env_id):
    splits = suite_of(env_id).plan(split="box", n_train=100, n_test=20).splits
    trained = splits.contexts("train")
    if env_id in TWO_TASKS:
        # There are no others.
        assert sorted(trained[:, 0]) == [-1, 1]
        assert splits.names == ("train",)
    else:
        tests = splits.contexts("interpolation")
        assert (len(trained), len(tests)) == (100, 20)
        assert not {splits.space.key(row) for row in trained} & {splits.space.key(row) for row in tests}
    assert splits.region is None
    again = Splits.from_json(json.loads(splits.text()))
    assert again.text() == splits.text()
    assert suite_of(env_id).plan(split="box", n_train=100, n_test=20).splits.text() == splits.text()
    others = suite_of(env_id).plan(split="box", n_train=100, n_test=20, split_seed=1).splits
    assert env_id in TWO_TASKS or others.text() != splits.text()


def test_sets_are_drawn_from_a_generator_of_their_own():
    np.random.seed(7)
    expected = np.random.get_state()[1].copy()
    first = suite_of("hyperrl/AntDir-v0").plan(n_train=10).splits
    assert np.array_equal(np.random.get_state()[1], expected)
    np.random.seed(8)
    assert suite_of("hyperrl/AntDir-v0").plan(n_train=10).splits.text() == first.text()


@pytest.mark.parametrize("mode", MODES)
def test_two_directions_are_divided_in_every_way_or_it_is_said_why_not(mode):
    settings = {"points": {"points": [[1.0]]}, "tasks": {"test_fraction": 0.5}}.get(mode, {})
    suite = suite_of("hyperrl/HalfCheetahDir-v0")
    if mode == "combinations":
        with pytest.raises(ContextError, match="combinations need two parameters or more"):
            suite.plan(split=mode)
        return
    splits = suite.plan(split=mode, **settings).splits
    rows = np.concatenate([splits.contexts(name) for name in splits.names])
    assert sorted(rows[:, 0]) == [-1, 1]
    env = make_env("hyperrl/HalfCheetahDir-v0", {"split": mode, **settings})
    drawn = {float(env.reset(seed=seed)[1]["context"][0]) for seed in range(12)}
    assert drawn == set(splits.contexts("train")[:, 0])


@pytest.mark.parametrize("env_id", META)
def test_a_pool_of_one_task_is_no_special_case(env_id):
    plan = suite_of(env_id).plan(n_train=1, n_test=5)
    (only,) = plan.splits.contexts("train")
    assert np.isfinite(plan.space.normalise(only)).all()
    env = make_env(env_id, {"n_train": 1, "n_test": 5})
    for _ in range(3):
        observation, info = env.reset()
        assert np.array_equal(info["context"], only)
    # The same numbers as among many tasks: nothing is normalised by a pool.
    many = make_env(env_id, {"n_train": 100, "n_test": 5})
    shown = many.reset(options={"context": only})[0]["context"]
    assert np.array_equal(shown, observation["context"])


def test_sets_that_overlap_are_refused_in_one_sentence():
    splits = suite_of("hyperrl/HalfCheetahVel-v0").plan(n_train=3, n_test=2).splits
    told = {**splits.to_json(), "tests": {"mine": splits.contexts("train")[:1].tolist()}}
    with pytest.raises(
        ContextError, match="1 of the test contexts 'mine' are also trained on, for example veloc"
    ):
        Splits.from_json(told)


COMPOSITIONS = {
    "hyperrl/ContextualHalfCheetah-v0": (["direction", "sign_back", "sign_front"], 8),
    "hyperrl/Navigation2D-v0": (["goal_x", "goal_y", "sign_x", "sign_y", "swap"], 32),
    "hyperrl/AntDir-v0": (["angle", "direction"], 4),
}


@pytest.mark.parametrize("env_id", COMPOSITIONS)
def test_combinations_of_goals_and_bodies_are_held_out(env_id):
    names, count = COMPOSITIONS[env_id]
    settings = {"context": names, "split": "combinations", "grid": 2, "test_fraction": 0.25}
    splits = suite_of(env_id).plan(**settings).splits
    trained, tests = splits.contexts("train"), splits.contexts("combinatorial")
    assert (len(trained), len(tests)) == (count * 3 // 4, count // 4)
    for column in range(len(names)):
        assert set(trained[:, column]) == set(tests[:, column]) | set(trained[:, column])
    env = make_env(env_id, settings)
    held_out = {tuple(row) for row in tests}
    drawn = {tuple(env.reset(seed=seed)[1]["context"]) for seed in range(60)}
    assert not drawn & held_out
    assert len(drawn) > count // 4
