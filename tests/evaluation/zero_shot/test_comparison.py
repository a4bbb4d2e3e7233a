"""Methods beside each other: which runs belong together, which cannot be compared, and the statistics."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

from hyperrl.config import RunConfig
from hyperrl.context import ContextParam, ContextSpace, Splits
from hyperrl.errors import ConfigError, ContextError
from hyperrl.evaluation.statistics import iqm, mean
from hyperrl.evaluation.zero_shot.comparison import compared
from hyperrl.evaluation.zero_shot.comparison_report import comparison_report
from hyperrl.evaluation.zero_shot.estimates import stratified_interval
from hyperrl.evaluation.zero_shot.lanes import Ended
from hyperrl.evaluation.zero_shot.methods import EvaluatedRun, grouped
from hyperrl.evaluation.zero_shot.plan import Plan
from hyperrl.evaluation.zero_shot.records import Record
from hyperrl.evaluation.zero_shot.references import Expert
from hyperrl.evaluation.zero_shot.results import Results, Subject


def splits_of(*names, test=(2.5, 3.0, 4.0)):
    space = ContextSpace(tuple(ContextParam(name, 0.0, 4.0, train=(1.0, 2.0)) for name in names))
    fill = [1.0] * (len(names) - 1)
    points, tests = ([[value, *fill] for value in values] for values in ((1.0, 2.0), test))
    return Splits(space, "points", 0, points=points, tests={"far": tests})


def made_up(name, value=lambda case: 0.0, seed=0, splits=None, subject=None, **settings):
    """A run whose returns are a function of the case."""
    plan_settings = {
        key: settings.pop(key)
        for key in ("names", "episodes", "seeds", "ablations", "random")
        if key in settings
    }
    plan = Plan(
        **{"splits": splits or splits_of("mass"), "names": ("train", "far"), "episodes": 2, **plan_settings}
    )
    config = RunConfig(**{"agent": "context-sac", "env": "Env-v0", "seed": seed, **settings})
    outcomes = tuple(Ended(float(value(case)), 5, False, None) for case in plan.cases())
    whose = Subject(config.env, config.agent, seed, subject or "latest", 100)
    return EvaluatedRun(
        name, config, Record(Results(whose, plan, outcomes), (), {"trainable_parameters": 10})
    )


def kinds(**policy):
    return {"agent_kwargs": {"policy_kwargs": policy}}


def test_runs_that_differ_by_seed_are_of_one_method():
    runs = [
        made_up("a", seed=1, **kinds(actor="hyper")),
        made_up("b", seed=0, **kinds(actor="concat")),
        made_up("c", seed=0, threads=2, eval_every=7, **kinds(actor="hyper")),
    ]
    methods = grouped(runs)
    assert [(one.label, [run.name for run in one.runs]) for one in methods] == [
        ("context-sac actor=hyper", ["c", "a"]),
        ("context-sac actor=concat", ["b"]),
    ]


def test_labels_have_what_tells_methods_apart_and_no_more():
    hidden = {"env_kwargs": {"mode": "hidden"}, "agent": "sac"}
    runs = [
        made_up("a", **kinds(actor={"kind": "hyper"}, net_arch=[64])),
        made_up("b", **kinds(actor={"kind": "film"}, net_arch=[32])),
        made_up("c", **hidden),
    ]
    assert [one.label for one in grouped(runs)] == [
        "context-sac actor=hyper",
        "context-sac actor=film",
        "sac",
    ]
    runs = [made_up("a", **kinds(net_arch=[64])), made_up("b", **kinds(net_arch=[32]))]
    assert [one.label for one in grouped(runs)] == ["context-sac net_arch=[64]", "context-sac net_arch=[32]"]
    assert [one.label for one in grouped(runs, ["big", "small"])] == ["big", "small"]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"env": "Other-v0"}, r"the environments differ, Env-v0 and Other-v0"),
        ({"env_kwargs": {"cost": 2.0}}, r"the environments' arguments differ, \{\} and \{'cost': 2.0\}"),
        ({"splits": splits_of("drag")}, "the parameters of the context differ, mass and drag"),
        ({"splits": splits_of("mass", test=(2.5, 3.0, 3.5))}, "the contexts of the split 'far' differ"),
        ({"names": ("train",)}, "the evaluated splits differ, train, far and train"),
        ({"episodes": 3}, "the episodes in each context differ, 2 and 3"),
        ({"seeds": (1,)}, "the seeds of the evaluations differ, 0 and 1"),
        ({"subject": "best"}, "the checkpoints differ, latest and best"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other, sentence):
    with pytest.raises(ContextError, match=f"^a and b cannot be compared: {sentence}$"):
        grouped([made_up("a"), made_up("b", seed=1, **other)])


def test_parameters_in_another_order_are_refused():
    runs = [
        made_up("a", splits=splits_of("mass", "drag")),
        made_up("b", seed=1, splits=splits_of("drag", "mass")),
    ]
    with pytest.raises(ContextError, match="the context differ, mass, drag and drag, mass"):
        grouped(runs)


def test_what_is_told_and_drawn_makes_a_method_and_no_other_task():
    runs = [
        made_up("a", env_kwargs={"mode": "hidden"}),
        made_up("b", env_kwargs={"n_test": 3, "split_seed": 4}),
    ]
    assert len(grouped(runs)) == 2


def test_wrong_groups_are_refused():
    with pytest.raises(ConfigError, match="'context-sac' has two runs of seed 0"):
        grouped([made_up("a"), made_up("b")])
    with pytest.raises(ConfigError, match="as many labels, got 1"):
        grouped([made_up("a"), made_up("b", seed=1)], ["one"])
    with pytest.raises(ConfigError, match="at least one run"):
        grouped([])


def family(label, offset, spread, seeds=3, **settings):
    """Runs that earn ``100 m + offset + spread * seed``, less 1 in the second episode."""
    return [
        made_up(
            f"{label}-{seed}",
            lambda case, seed=seed: 100 * case.context[0] + offset + spread * seed - case.episode,
            seed,
            **{**kinds(actor=label), **settings},
        )
        for seed in range(seeds)
    ]


def test_the_statistics_by_hand():
    methods = grouped([*family("hyper", 50, 10), *family("concat", 0, 10)])
    found = compared(methods)
    hyper, concat = (found.cell(f"context-sac actor={name}", "far") for name in ("hyper", "concat"))
    # Means over episodes lose 0.5; contexts 250, 300, 400; runs add 0, 10, 20.
    values = [100 * m + 10 * seed - 0.5 for m in (2.5, 3, 4) for seed in range(3)]
    assert concat.iqm.estimate == pytest.approx(float(iqm(values)))
    assert hyper.iqm.estimate == pytest.approx(float(iqm(values)) + 50)
    assert concat.mean.estimate == pytest.approx(np.mean(values))
    assert concat.worst.estimate == pytest.approx(250 + 10 - 0.5)
    trained = [100 * m + 10 * seed - 0.5 for m in (1, 2) for seed in range(3)]
    assert concat.gap.estimate == pytest.approx(float(iqm(trained)) - float(iqm(values)))
    assert concat.runs == 3
    assert found.cell("context-sac actor=concat", "train").gap is None
    # The worst concat run is 20 below the best, hyper is 50 above: always better.
    certain = {(one.method[18:], one.split): one.probability for one in found.improvements}
    assert certain["hyper", "far"].estimate == 1
    assert (certain["concat", "far"].low, certain["concat", "far"].high) == (0, 0)
    assert found.methods[1].mean.estimate == pytest.approx(np.mean(values))
    assert (found.methods[0].seeds, found.methods[0].steps) == ((0, 1, 2), (100, 100, 100))


def test_the_interval_draws_whole_runs_and_the_stratified_one_draws_them_in_each_context():
    cell = compared(grouped(family("concat", 0, 10))).cell("context-sac", "far")
    # With a chance of 1/27 each, all three draws are the worst run, or the best.
    assert cell.mean.low == pytest.approx(950 / 3 - 0.5)
    assert cell.mean.high == pytest.approx(950 / 3 - 0.5 + 20)
    assert cell.stratified.estimate == cell.iqm.estimate
    draws = [np.mean(draw) for draw in itertools.product([0, 10, 20], repeat=3)]
    # The mean over three contexts of the mean of three runs, each drawn by itself.
    rng = np.random.default_rng(0)
    of_all = rng.choice(draws, size=(100_000, 3)).mean(axis=1) + 950 / 3 - 0.5
    returns = grouped(family("concat", 0, 10))[0].returns("far")
    own = stratified_interval(returns, mean)
    assert own.low == pytest.approx(np.quantile(of_all, 0.025), abs=0.8)
    assert own.high == pytest.approx(np.quantile(of_all, 0.975), abs=0.8)


def test_the_gap_is_paired_by_run():
    """What a run earns more everywhere leaves the gap: all runs have the same one."""
    cell = compared(grouped(family("concat", 0, 1000, seeds=5))).cell("context-sac", "far")
    runs = family("concat", 0, 0, seeds=1)
    alone = compared(grouped(runs)).cell("context-sac", "far")
    means = [one.record.results.returns("far").mean() for one in family("concat", 0, 1000, seeds=5)]
    assert np.std(means) > 1000
    assert cell.gap.high - cell.gap.low < 400, "the runs themselves spread over 4000"
    assert alone.gap.estimate == pytest.approx(150 - np.mean([250, 300, 400]))


def test_references_give_scores_though_one_run_alone_played_random_actions():
    def value(case):
        return 0.0 if case.ablation == "random" else 20 * case.context[0]

    experts = [Expert((0.0,), 0.0, 1, "a"), Expert((4.0,), 160.0, 1, "b")]
    runs = [made_up("a", value, 0, random=True), made_up("b", value, 1)]
    cell = compared(grouped(runs), experts).cell("context-sac", "far")
    assert cell.normalised.estimate == pytest.approx(0.5)
    assert cell.optimality_gap.estimate == pytest.approx(0.5)
    assert compared(grouped(runs)).cell("context-sac", "far").normalised is None
    assert compared(grouped(runs[1:]), experts).cell("context-sac", "far").normalised is None


@pytest.mark.parametrize("names", [("mass",), ("mass", "drag"), ("mass", "drag", "gain")])
def test_the_report_has_all_methods_and_its_pictures(names):
    splits = splits_of(*names)
    methods = grouped([*family("hyper", 50, 10, splits=splits), *family("concat", 0, 10, 1, splits=splits)])
    document = comparison_report(methods, compared(methods), [])
    pictures = {"splits.png", "distance.png", "profile.png"} | ({"contexts.png"} if len(names) < 3 else set())
    assert set(document.pictures) == pictures
    text = document.to_markdown()
    assert "| context-sac actor=hyper over context-sac actor=concat | 1.000 [1.000, 1.000] |" in text
    assert "There is one run of context-sac actor=concat" in text
    assert "Bootstrap intervals of fewer than five runs are too narrow" in text
    json.dumps(compared(methods).to_json(), allow_nan=False)


def test_equal_runs_tie():
    runs = family("concat", 0, 0, 2)
    other = [dataclasses.replace(run, name=f"other-{run.name}") for run in runs]
    found = compared(grouped([*runs, *other], ["one", "one", "two", "two"]))
    assert {one.probability.estimate for one in found.improvements} == {0.5}
