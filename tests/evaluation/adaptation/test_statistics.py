"""Statistics and tables of adaptation against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hyperrl.config import RunConfig
from hyperrl.context import ContextParam, ContextSpace, make_splits
from hyperrl.errors import ConfigError, ContextError, RunFolderError
from hyperrl.evaluation.adaptation.comparison import AdaptedRun, compared, grouped
from hyperrl.evaluation.adaptation.comparison_report import comparison_report
from hyperrl.evaluation.adaptation.figures import draw_curves
from hyperrl.evaluation.adaptation.plan import Plan, TaskSet, task_sets
from hyperrl.evaluation.adaptation.playing import blocks_of
from hyperrl.evaluation.adaptation.results import Outcome, Results, from_csv, to_csv
from hyperrl.evaluation.adaptation.summary import summarise
from hyperrl.evaluation.statistics import Interval
from hyperrl.evaluation.zero_shot.lanes import Ended
from hyperrl.evaluation.zero_shot.results import Subject

SPACE = ContextSpace((ContextParam("pull", -1.0, 1.0, default=0.0, op="set", train=(-0.5, 0.5)),))
SUBJECT = Subject("Toy-v0", "knowing", 0, "latest", 10)


def planned(contexts=(-0.4, -0.2, 0.0, 0.2), episodes=2, evaluations=3, seeds=(0,)):
    rows = np.array(contexts)[:, None]
    return Plan(SPACE, (TaskSet("tasks", rows),), episodes, evaluations, seeds)


def results_of(plan, value, subject=SUBJECT):
    """Results whose returns are `value(task, seed, k, e)`; episodes of data earn -1, -2, ..."""
    outcomes = []
    for job in plan.jobs():
        evaluations = tuple(
            tuple(
                Ended(float(value(job.number, job.seed, k, e)), 10, False, None)
                for e in range(plan.evaluations)
            )
            for k in range(plan.episodes + 1)
        )
        data = tuple(Ended(-1.0 - k, 7, True, True) for k in range(plan.episodes))
        outcomes.append(Outcome(evaluations, data))
    return Results(subject, plan, tuple(outcomes))


def test_points_are_the_interquartile_means_over_tasks():
    values = np.array([1.0, 2.0, 10.0, 100.0])
    results = results_of(planned(), lambda task, seed, k, e: values[task] * (k + 1) + e)
    (one,) = summarise(results).sets
    # The middle two of the tasks' means over e = 0, 1, 2, which add 1.
    assert [point.iqm.estimate for point in one.points] == pytest.approx([7, 13, 19])
    assert [point.mean.estimate for point in one.points] == pytest.approx([29.25, 57.5, 85.75])
    assert [point.gain and point.gain.estimate for point in one.points] == [None, 6, 12]
    assert [point.data for point in one.points] == [-1, -2, None]
    assert summarise(results).tasks[0].returns == (2, 3, 4)
    # Episodes are drawn again, each in all tasks: between only e = 0 and only e = 2.
    assert all(point.iqm.estimate - 1 <= point.iqm.low < point.iqm.estimate for point in one.points)
    # What is common to the episodes of two points leaves their difference.
    gain = one.points[2].gain
    assert (gain.estimate, gain.low, gain.high) == pytest.approx((12, 12, 12))


def test_several_seeds_are_what_is_drawn_again():
    plan = planned(seeds=(0, 1), evaluations=2)
    # Evaluation episodes differ widely, but by the same in each seed: they leave the interval.
    results = results_of(plan, lambda task, seed, k, e: 100 * e + 10 * seed)
    (one,) = summarise(results).sets
    assert one.points[0].iqm == Interval(55, 50, 60)
    assert results.returns("tasks", 0).tolist() == [[50, 60]] * 4


def test_tables_say_what_was_played_and_read_back():
    plan = planned(seeds=(0, 3))
    results = results_of(plan, lambda task, seed, k, e: task / 3 + seed + k + e)
    text = to_csv(results)
    again = from_csv(text, SUBJECT, plan)
    assert again.outcomes == results.outcomes
    assert again.table("tasks").shape == (3, 4, 2, 3)
    assert again.table("tasks")[1, 2, 1, 0] == 2 / 3 + 3 + 1
    with pytest.raises(RunFolderError, match="not that of its plan"):
        from_csv(text, SUBJECT, planned(seeds=(0, 4)))
    with pytest.raises(RunFolderError, match="not that of its plan"):
        from_csv(text.rsplit("\n", 2)[0] + "\n", SUBJECT, plan)
    with pytest.raises(RunFolderError, match="cannot be read"):
        from_csv(text.replace("reset_seed", "seed_of_reset"), SUBJECT, plan)


def test_blocks_have_one_set_and_one_seed_each():
    blocks = list(blocks_of(planned(seeds=(0, 1)).jobs(), 3))
    assert [(len(one.jobs), one.jobs[0].number, {job.seed for job in one.jobs}) for one in blocks] == [
        (3, 0, {0}),
        (1, 3, {0}),
        (3, 0, {1}),
        (1, 3, {1}),
    ]
    assert blocks[0].contexts.tolist() == [[-0.4], [-0.2], [0.0]]


def test_plans_are_joined_where_their_episodes_go_together():
    plan = planned()
    given = task_sets(make_splits(SPACE), (), ["pull=0.5"])
    other = Plan(SPACE, given, 2, 3)
    joined = plan.joined(other)
    assert joined.names == ("tasks", "given")
    assert joined.joined(plan).to_json() == joined.to_json()
    assert Plan.from_json(joined.to_json()).to_json() == joined.to_json()
    assert plan.joined(planned(episodes=3)) is None
    assert plan.joined(planned(seeds=(1,))) is None
    assert plan.joined(planned(contexts=(0.1,))) is None


def test_which_tasks_are_meant():
    splits = make_splits(SPACE, n_test=3)
    tests = task_sets(splits, (), ())
    assert [one.name for one in tests] == ["interpolation", "extrapolation"]
    both = task_sets(splits, ("train",), ["pull=0.5", [0.25]])
    assert [one.name for one in both] == ["train", "given"]
    assert both[1].contexts.tolist() == [[0.5], [0.25]]
    with pytest.raises(ContextError, match=r"pull=0\.5 is given twice"):
        task_sets(splits, (), ["pull=0.5", {"pull": 0.5}])
    everything = make_splits(SPACE, "tasks", grid=3, test_fraction=0.4)
    assert task_sets(everything, (), ())[0].name == "tasks"


def run_of(seed, shift=0.0, agent="knowing", **changes):
    plan = planned(**changes)
    subject = Subject("Toy-v0", agent, seed, "latest", 10)
    results = results_of(plan, lambda task, _, k, e: task * 10 + seed + shift * k, subject)
    return AdaptedRun(f"run-{agent}-{seed}", RunConfig(agent, "Toy-v0", seed=seed), results)


def test_a_comparison_pools_runs_and_draws_them_whole():
    runs = [run_of(seed) for seed in (0, 1, 2)] + [run_of(seed, 4.0, "other") for seed in (0, 1)]
    methods = grouped(runs)
    assert [(one.label, len(one.runs)) for one in methods] == [("knowing", 3), ("other", 2)]
    comparison = compared(methods)
    known, other = comparison.of_split("tasks")
    # The tasks earn 0, 10, 20, 30 plus the seed: the middle half of all twelve numbers has the mean 16.
    assert [one.estimate for one in known.iqm] == pytest.approx([16, 16, 16])
    assert (known.iqm[0].low, known.iqm[0].high) == pytest.approx((15, 17))
    assert [one.estimate for one in other.iqm] == pytest.approx([15.5, 19.5, 23.5])
    assert (other.gain.estimate, other.gain.low, other.gain.high) == pytest.approx((8, 8, 8))
    wins = {(one.method, one.other, one.episodes): one.probability for one in comparison.improvements}
    # Without data: of 2 * 3 pairs of seeds one wins, two tie; with data the other wins all.
    assert wins["other", "knowing", 0].estimate == pytest.approx((1 + 2 / 2) / 6)
    assert wins["other", "knowing", 2] == Interval(1, 1, 1)
    assert wins["knowing", "other", 2] == Interval(0, 0, 0)


def test_labels_decide_what_is_pooled():
    runs = [run_of(0), run_of(1)]
    assert [one.label for one in grouped(runs, ["a", "b"])] == ["a", "b"]
    with pytest.raises(ConfigError, match="as many labels"):
        grouped(runs, ["a"])
    with pytest.raises(ConfigError, match="two runs of seed 0"):
        grouped([run_of(0), run_of(0, 1.0)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"episodes": 3}, "the episodes of data differ, 2 and 3"),
        ({"evaluations": 1}, "the evaluation episodes differ, 3 and 1"),
        ({"seeds": (2,)}, "the seeds of the evaluations differ"),
        ({"contexts": (0.0, 0.1)}, "the tasks of the set 'tasks' differ"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(changes, words):
    with pytest.raises(ContextError, match=f"run-knowing-0 and run-knowing-1 cannot be compared: {words}"):
        grouped([run_of(0), run_of(1, **changes)])


def test_the_order_in_which_sets_were_played_is_no_difference():
    sets = [TaskSet(name, np.array([[at], [at + 0.1]])) for name, at in (("near", 0.1), ("far", 0.7))]
    runs = []
    for seed, own in enumerate((sets, sets[::-1])):
        plan = Plan(SPACE, tuple(own), 1, 1)
        results = results_of(
            plan, lambda task, seed, k, e: task + k, Subject("Toy-v0", "a", seed, "latest", 1)
        )
        runs.append(AdaptedRun(f"run-{seed}", RunConfig("a", "Toy-v0", seed=seed), results))
    (method,) = grouped(runs)
    assert method.returns("far", 1).tolist() == [[[1], [2]]] * 2
    turned = [TaskSet("near", sets[0].contexts[::-1]), sets[1]]
    results = results_of(Plan(SPACE, tuple(turned), 1, 1), lambda *_: 0, runs[1].results.subject)
    other = AdaptedRun("run-1", runs[1].config, results)
    with pytest.raises(ContextError, match="the tasks of the set 'near' are in another order"):
        grouped([runs[0], other])


def test_reports_and_pictures_have_a_curve_for_each_method():
    methods = grouped([run_of(0), run_of(1), run_of(0, 4.0, "other")])
    comparison = compared(methods)
    figure = draw_curves({"tasks": {one.method: one.iqm for one in comparison.curves}}, "IQM")
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["other"].get_xdata().tolist() == [0, 1, 2]
    assert lines["other"].get_ydata().tolist() == pytest.approx([15, 19, 23])
    document = comparison_report(methods, comparison)
    text = document.to_markdown()
    assert "| other | 1 | 15.00 [15.00, 15.00] | 19.00 [19.00, 19.00] | 23.00 [23.00, 23.00] | 8.000" in text
    assert "There is one run of other: its intervals are over evaluation episodes" in text
    assert document.to_html().count("data:image/png;base64,") == 1
