"""The plan: a fixed quota in every context, common resets, and contexts that are told instead."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from hyperrl.context import ContextParam, ContextSpace, make_splits
from hyperrl.errors import ConfigError, ContextError, UnknownNameError
from hyperrl.evaluation.zero_shot.plan import Plan
from hyperrl.run.seeding import seeds_of_zero_shot

SPACE = ContextSpace(
    (
        ContextParam("mass", 0.5, 2.0, train=(0.75, 1.5)),
        ContextParam("gain", 0.1, 10.0, train=(0.5, 2.0), log=True),
    )
)
SPLITS = make_splits(SPACE, n_train=5, n_test=6)


def test_every_context_has_its_quota_and_all_have_the_same_resets():
    plan = Plan(SPLITS, ("extrapolation", "train"), 3, (7, 0), ("mean", "shuffled"), random=True)
    assert plan.names == ("train", "extrapolation")
    cases = plan.cases()
    counts = Counter((case.ablation, case.split, case.number) for case in cases)
    assert set(counts.values()) == {6}
    assert len(counts) == 4 * (5 + 6)
    expected = [*seeds_of_zero_shot(7, 3), *seeds_of_zero_shot(0, 3)]
    assert len(set(expected)) == 6
    resets: dict = {}
    for case in cases:
        resets.setdefault((case.ablation, case.split, case.number), []).append(case.reset_seed)
    assert all(own == expected for own in resets.values())


def test_contexts_are_those_of_the_splits_and_the_policy_is_told_the_truth():
    for case in Plan(SPLITS, SPLITS.names, 1).cases():
        np.testing.assert_array_equal(case.context, SPLITS.contexts(case.split)[case.number])
        assert case.told is None


def test_shuffled_contexts_are_those_of_other_tasks_of_the_split_each_once():
    for name in SPLITS.names:
        cases = [
            case
            for case in Plan(SPLITS, (name,), 1, ablations=("shuffled",)).cases()
            if case.told is not None
        ]
        told = np.stack([case.told for case in cases])
        assert not (told == SPLITS.contexts(name)).all(axis=1).any()
        assert sorted(map(tuple, told)) == sorted(map(tuple, SPLITS.contexts(name)))


def test_the_mean_context_is_that_of_training_with_the_logarithm_of_what_has_one():
    cases = [case for case in Plan(SPLITS, ("extrapolation",), 1, ablations=("mean",)).cases()]
    trained = SPLITS.contexts("train")
    expected = [trained[:, 0].mean(), np.exp(np.log(trained[:, 1]).mean())]
    for case in cases[6:]:
        np.testing.assert_allclose(case.told, expected, rtol=1e-12)


def test_a_split_of_one_context_has_none_to_be_shuffled_with():
    splits = make_splits(SPACE, "points", points=[[1.0, 1.0]], n_test=3)
    plan = Plan(splits, ("train", "extrapolation"), 2, ablations=("shuffled",))
    shuffled = [case for case in plan.cases() if case.ablation == "shuffled"]
    assert {case.split for case in shuffled} == {"extrapolation"}


def test_a_plan_survives_json():
    plan = Plan(SPLITS, ("train", "interpolation"), 2, (3,), ("mean",), random=True)
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.to_json() == plan.to_json()
    for one, other in zip(plan.cases(), again.cases(), strict=True):
        np.testing.assert_array_equal(one.context, other.context)
        assert (one.split, one.ablation, one.reset_seed) == (other.split, other.ablation, other.reset_seed)


def test_plans_of_equal_numbers_are_joined():
    one, other = (
        Plan(SPLITS, ("train",), 2),
        Plan(SPLITS, ("interpolation",), 2, ablations=("mean",), random=True),
    )
    both = one.joined(other)
    assert (both.names, both.ablations, both.random) == (("train", "interpolation"), ("mean",), True)
    assert one.joined(Plan(SPLITS, ("train",), 3)) is None
    assert one.joined(Plan(SPLITS, ("train",), 2, (1,))) is None
    assert one.joined(Plan(make_splits(SPACE, n_train=5, n_test=6, seed=1), ("train",), 2)) is None


@pytest.mark.parametrize("episodes", [0, -1, 1.5, float("nan"), "many"])
def test_wrong_numbers_of_episodes_are_refused(episodes):
    with pytest.raises(ConfigError, match="episodes must be a whole number from 1"):
        Plan(SPLITS, ("train",), episodes)


def test_wrong_plans_are_refused():
    with pytest.raises(
        UnknownNameError, match=r"unknown split 'extrapolate', did you mean 'extrapolation'\?.*train"
    ):
        Plan(SPLITS, ("extrapolate",), 1)
    with pytest.raises(ContextError, match="no split of contexts is named, choose from train, "):
        Plan(SPLITS, (), 1)
    with pytest.raises(UnknownNameError, match="ablation of the context 'shufled'"):
        Plan(SPLITS, ("train",), 1, ablations=("shufled",))
    for seeds in ((), (1, 1)):
        with pytest.raises(ConfigError, match="one or more different numbers"):
            Plan(SPLITS, ("train",), 1, seeds)
    with pytest.raises(ConfigError, match="seeds must be a whole number"):
        Plan(SPLITS, ("train",), 1, (-1,))
    with pytest.raises(ContextError, match="lacks episodes"):
        Plan.from_json(
            {
                name: value
                for name, value in Plan(SPLITS, ("train",), 1).to_json().items()
                if name != "episodes"
            }
        )
