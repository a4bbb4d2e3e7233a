"""Statistics of results that are made up, against numbers by hand."""

from __future__ import annotations

import csv
import io
import itertools
import json

import numpy as np
import pytest

from hyperrl.context import ContextParam, ContextSpace, Splits
from hyperrl.errors import ContextError, RunFolderError, ShapeError
from hyperrl.evaluation.statistics import iqm, mean
from hyperrl.evaluation.zero_shot.estimates import difference, interval, stratified_interval, worst_interval
from hyperrl.evaluation.zero_shot.lanes import Ended
from hyperrl.evaluation.zero_shot.plan import Plan
from hyperrl.evaluation.zero_shot.references import Expert, expected_returns, normalised_scores
from hyperrl.evaluation.zero_shot.results import Results, Subject, from_csv, key_of, to_csv
from hyperrl.evaluation.zero_shot.summary import distance_groups, summarise

SPACE = ContextSpace((ContextParam("mass", 0.0, 4.0, train=(1.0, 2.0)),))
SPLITS = Splits(
    SPACE,
    "points",
    0,
    points=[[1.0], [2.0]],
    tests={"near": [[1.25], [1.5], [1.75], [1.875]], "far": [[0.0], [3.0], [4.0]]},
)
SUBJECT = Subject("Env-v0", "sac", 3, "latest", 1000)


def made_up(plan, value, length=10):
    """Results whose returns are a function of the case."""
    outcomes = tuple(Ended(float(value(case)), length, case.number == 0, None) for case in plan.cases())
    return Results(SUBJECT, plan, outcomes)


def by_context(case):
    """100 times the mass, less 1 for each later episode; half of it if another context is told."""
    return 100 * case.context[0] * (0.5 if case.ablation == "shuffled" else 1.0) - case.episode


def test_the_statistics_of_splits_by_hand():
    plan = Plan(SPLITS, SPLITS.names, 3, ablations=("shuffled",))
    summary = summarise(made_up(plan, by_context))
    train, near, far = summary.splits
    assert [one.name for one in summary.splits] == ["train", "near", "far"]
    # Means over episodes: 100 m - 1.
    assert train.iqm.estimate == pytest.approx(149)
    assert near.iqm.estimate == pytest.approx((150 + 175) / 2 - 1)
    assert near.mean.estimate == pytest.approx((125 + 150 + 175 + 187.5) / 4 - 1)
    assert far.mean.estimate == pytest.approx(700 / 3 - 1)
    assert far.worst.estimate == pytest.approx(-1)
    assert train.gap is None
    assert near.gap.estimate == pytest.approx(149 - 161.5)
    assert far.gap.estimate == pytest.approx(149 - (700 / 3 - 1))
    assert summary.tests.estimate == pytest.approx((637.5 + 700) / 7 - 1)
    assert near.ablations["shuffled"].estimate == pytest.approx(162.5 / 2 - 1)
    assert near.losses["shuffled"].estimate == pytest.approx(162.5 / 2)
    # All contexts lose the same in every episode: paired by episode there is no spread.
    assert near.losses["shuffled"].low == pytest.approx(near.losses["shuffled"].high)
    assert (far.contexts, far.episodes, far.length) == (3, 3, 10)
    assert far.terminated == pytest.approx(1 / 3)
    for split in summary.splits:
        assert split.iqm.low <= split.iqm.estimate <= split.iqm.high
        assert split.success is None


def test_the_statistics_of_contexts_by_hand():
    plan = Plan(SPLITS, ("far",), 4, ablations=("shuffled",))
    first, second, third = summarise(made_up(plan, by_context)).contexts
    assert (first.context, second.context, third.context) == ("mass=0", "mass=3", "mass=4")
    assert (second.mean, second.median) == (pytest.approx(298.5), pytest.approx(298.5))
    assert second.sd == pytest.approx(np.std([0, 1, 2, 3], ddof=1))
    assert (first.terminated, second.terminated) == (1, 0)
    assert second.ablations == {"shuffled": pytest.approx(148.5)}
    # The range of training is 2 wide: a mass of 1 more is 2 farther.
    assert [first.distance, second.distance, third.distance] == pytest.approx([2, 2, 4])


def test_contexts_are_grouped_by_distance():
    distances = summarise(made_up(Plan(SPLITS, SPLITS.names, 2), by_context)).distances
    assert sum(one.contexts for one in distances) == 9
    assert (distances[0].low, distances[0].high, distances[0].contexts) == (0, 0, 2)
    assert distances[0].mean.estimate == pytest.approx(149.5)
    assert all(one.high <= other.low + 1e-9 for one, other in itertools.pairwise(distances))


@pytest.mark.parametrize("levels", [3, 5, 12])
def test_contexts_at_one_distance_are_in_one_group(levels):
    rng = np.random.default_rng(0)
    distances = rng.permutation(np.concatenate([np.zeros(4), np.repeat(0.05 * np.arange(levels), 7)]))
    groups = distance_groups(distances + 1e-13 * rng.random(len(distances)))
    assert sorted(np.concatenate(groups)) == list(range(len(distances)))
    assert len(groups) == min(levels - 1, 5) + 1
    assert (distances[groups[0]] == 0).all()
    ends = [(distances[group].min(), distances[group].max()) for group in groups]
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ends))
    assert distance_groups(np.zeros(3))[0].tolist() == [0, 1, 2]


def test_normalised_scores_by_hand():
    def value(case):
        return {"random": 10.0, "none": 10 + 20 * case.context[0]}[case.ablation] - 0.0 * case.episode

    plan = Plan(SPLITS, SPLITS.names, 2, random=True)
    experts = [Expert((0.0,), 10.0, 1, "a"), Expert((2.0,), 90.0, 1, "b"), Expert((3.0,), 130.0, 1, "c")]
    summary = summarise(made_up(plan, value), experts)
    train, near, far = summary.splits
    # The expert earns 10 + 40 m: the policy is half as good wherever that can be said.
    for split in (train, near):
        assert split.normalised.estimate == pytest.approx(0.5)
        assert split.optimality_gap.estimate == pytest.approx(0.5)
        assert split.undefined == 0
    assert far.undefined == 1, "at mass 0 the expert is as good as chance"
    # At mass 4 the last expert's 130 stands in: (90 - 10) / (130 - 10).
    assert far.normalised.estimate == pytest.approx((0.5 + 80 / 120) / 2)
    kinds = {one.context: one.expert_kind for one in summary.contexts}
    assert kinds == {
        "mass=1": "interpolated",
        "mass=2": "measured",
        "mass=1.25": "interpolated",
        "mass=1.5": "interpolated",
        "mass=1.75": "interpolated",
        "mass=1.875": "interpolated",
        "mass=0": "measured",
        "mass=3": "measured",
        "mass=4": "extrapolated",
    }
    assert summary.of_split("far")[0].normalised is None


def test_no_references_no_scores():
    summary = summarise(made_up(Plan(SPLITS, ("train",), 1), by_context))
    assert summary.splits[0].normalised is None
    assert summary.tests is None
    assert summary.contexts[0].expert is None


def test_experts_between_more_than_one_parameter():
    space = ContextSpace(
        (ContextParam("a", 0.0, 4.0, default=1.0, train=(0.0, 2.0)), ContextParam("b", 0.0, 2.0))
    )
    experts = [Expert((0.0, 0.0), 0.0, 1, "x"), Expert((2.0, 0.0), 10.0, 1, "y")]
    found = expected_returns(experts, space, np.array([[2.0, 0.0], [1.0, 0.0], [0.5, 0.0], [4.0, 0.0]]))
    # At the same distance from both the mean; with distances of one to three the squares weigh 9 : 1.
    np.testing.assert_allclose(found.values, [10, 5, 1, 8], rtol=1e-9)
    assert found.kinds == ("measured", "interpolated", "interpolated", "extrapolated")


def test_wrong_experts_are_refused():
    experts = [Expert((1.0,), 0.0, 1, "a"), Expert((1.0,), 1.0, 1, "b")]
    with pytest.raises(ContextError, match="two experts of the context mass=1"):
        expected_returns(experts, SPACE, np.array([[1.0]]))
    with pytest.raises(ContextError, match="at least one expert"):
        expected_returns([], SPACE, np.array([[1.0]]))


def test_scores_are_undefined_where_the_expert_is_no_better_than_chance():
    scores = normalised_scores(np.array([[1.0, 3.0], [5.0, 5.0]]), np.array([1.0, 2.0]), np.array([5.0, 2.0]))
    np.testing.assert_array_equal(scores, [[0, 0.5], [np.nan, np.nan]])


def test_several_runs_are_what_is_drawn_again():
    """Episodes without end say nothing of another training: two runs that differ have a wide interval."""
    steady = np.stack([np.full((5, 50), 10.0), np.full((5, 50), 20.0)])
    own = interval(steady)
    assert (own.low, own.estimate, own.high) == (10, 15, 20)
    # Drawn for each context by itself, runs of opposite luck make up for each other.
    many = np.stack([np.full((100, 1), 10.0), np.full((100, 1), 20.0)])
    apart, half = stratified_interval(many, mean), 1.96 * 5 / np.sqrt(200)
    assert (apart.low, apart.high) == (pytest.approx(15 - half, abs=0.1), pytest.approx(15 + half, abs=0.1))
    assert interval(many, mean).low == 10
    single = interval(steady[:1])
    assert (single.low, single.estimate, single.high) == (10, 10, 10)


def test_the_interval_of_one_run_is_that_of_the_means_of_its_episodes():
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 1, size=(1, 400, 16)) + np.linspace(0, 8, 400)[None, :, None]
    found = stratified_interval(returns, lambda values: values.mean(axis=-1))
    half = 1.96 / np.sqrt(400 * 16)
    assert found.estimate == pytest.approx(returns.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_differences_are_paired_by_run():
    luck = np.array([0.0, 50.0, 100.0])[:, None, None]
    left, right = luck + np.full((3, 2, 4), 7.0), luck + np.full((3, 5, 4), 4.0)
    found = difference(left, right, lambda values: values.mean(axis=-1))
    assert (found.low, found.estimate, found.high) == (pytest.approx(3),) * 3
    with pytest.raises(ShapeError, match="as many runs on both sides, got 3, 2"):
        difference(left, right[:2])
    with pytest.raises(ShapeError, match=r"\[runs, contexts, episodes\]"):
        interval(left[0])


def test_several_runs_have_one_pooled_iqm():
    returns = np.arange(24.0).reshape(2, 4, 3)
    assert interval(returns).estimate == pytest.approx(float(iqm(returns.mean(axis=2).reshape(-1))))


def test_the_table_has_a_row_for_each_episode_and_survives():
    plan = Plan(SPLITS, SPLITS.names, 2, (0, 5), ("mean",), random=True)
    results = made_up(plan, lambda case: case.context[0] / 3 + case.episode)
    text = to_csv(results)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 9 * 4 * 3
    assert list(rows[0]) == [
        *("env", "agent", "run_seed", "checkpoint", "steps", "split", "context", "context_mass", "distance"),
        *("ablation", "seed", "episode", "reset_seed", "return", "length", "terminated", "success"),
    ]
    far = next(row for row in rows if row["context"] == "mass=4")
    assert (far["split"], far["context_mass"], far["distance"], far["terminated"]) == ("far", "4.0", "4", "0")
    assert (far["env"], far["agent"], far["run_seed"], far["steps"]) == ("Env-v0", "sac", "3", "1000")
    again = from_csv(text, SUBJECT, plan)
    assert again.outcomes == results.outcomes
    np.testing.assert_array_equal(again.returns("far", "mean"), results.returns("far", "mean"))
    assert results.returns("far").shape == (3, 4)
    assert results.returns("far", "shuffled").shape == (0, 0)


def test_a_table_of_another_plan_is_refused():
    plan = Plan(SPLITS, SPLITS.names, 2)
    text = to_csv(made_up(plan, by_context))
    with pytest.raises(RunFolderError, match="not that of its plan"):
        from_csv(text, SUBJECT, Plan(SPLITS, SPLITS.names, 2, (1,)))
    with pytest.raises(RunFolderError, match="cannot be read"):
        from_csv(text.replace(",return,", ",retrun,"), SUBJECT, plan)


def test_episodes_of_a_smaller_plan_are_found_in_a_larger_one():
    small, large = Plan(SPLITS, ("far",), 2), Plan(SPLITS, ("train", "far"), 2, random=True)
    known = made_up(small, by_context).by_case()
    assert len(known) == 6
    for case in large.cases():
        one = known.get(key_of(case, SPACE))
        assert (one is not None) == (case.split == "far" and case.ablation == "none")
        assert one is None or one.episode_return == by_context(case)


def test_the_statistics_are_json():
    plan = Plan(SPLITS, SPLITS.names, 2, ablations=("mean",), random=True)
    summary = summarise(made_up(plan, by_context), [Expert((1.0,), 500.0, 1, "a")])
    data = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert data["splits"][0]["iqm"]["estimate"] == pytest.approx(149.5)
    assert len(data["contexts"]) == 9


def test_the_interval_of_the_worst_holds_the_estimate_though_all_contexts_are_alike():
    """Two runs that differ as wholes: drawn for each context by itself, some context is always unlucky."""
    returns = np.stack([np.full((40, 3), 10.0), np.full((40, 3), 20.0)])
    found = worst_interval(returns)
    assert (found.low, found.estimate, found.high) == (10, 15, 20)
    episodes = np.stack([np.full(40, value) for value in (1.0, 2.0, 6.0)], axis=1)[None]
    alone = worst_interval(episodes)
    # All three draws are the same episode with a chance of 1/27 each, which is more than 2.5 %.
    assert (alone.low, alone.estimate, alone.high) == (1, 3, 6)
