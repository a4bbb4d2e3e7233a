"""How agents adapt, against curves that are known in closed form, from the run to the table."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

import hyperrl
from hyperrl.adapt import adapt, report_adaptation
from hyperrl.errors import ConfigError, RunFolderError
from hyperrl.evaluation.adaptation import evaluating, playing
from hyperrl.evaluation.zero_shot.together import play_together
from hyperrl.run.seeding import seeds_of_adaptation, seeds_of_zero_shot
from tests.evaluation.adaptation.knowing import expected


def quiet(line):
    """Say nothing."""


@pytest.fixture(scope="module")
def trained(make_run):
    return make_run()


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Pictures take longer than all the rest."""
    monkeypatch.setattr("hyperrl.evaluation.adaptation.run_report.png_of", lambda figure: b"png")


def rows_of(run):
    with (run / "eval" / "adaptation" / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def context_of(row):
    return {name[8:]: float(value) for name, value in row.items() if name.startswith("context_")}


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_episode_is_what_the_definition_of_the_agent_says(run):
    result = adapt(run, 3, eval_episodes=2, seeds=(0, 7), say=quiet)
    rows = rows_of(run)
    tests = {"interpolation", "extrapolation", "extrapolation_all"}
    assert {row["split"] for row in rows} == tests
    assert len(rows) == 3 * 4 * 2 * (4 * 2 + 3)
    assert result.simulated == 3 * 4 * 2
    lengths = set()
    for row in rows:
        context, k = context_of(row), int(row["data_episodes"])
        if row["kind"] == "evaluation":
            total, steps = expected(context, int(row["reset_seed"]), min(k, 2) / 2)
        else:
            steps = min(10, int(np.ceil(context["limit"])))
            total = -steps * (1 - context["pull"]) ** 2
        assert float(row["return"]) == pytest.approx(total, abs=1e-4)
        assert int(row["length"]) == steps
        assert int(row["terminated"]) == (steps < 10)
        lengths.add(steps)
    assert len(lengths) > 2, "tasks should end at different times"


def test_resets_are_the_same_after_any_number_of_episodes_and_for_all_runs(run, make_run):
    other = make_run(seed=5, agent_kwargs={"parts": 4}, env_kwargs={"cost": 0.01})
    tables = []
    for path in (run, other):
        adapt(path, 2, splits=["train"], eval_episodes=3, seeds=(4,), say=quiet)
        tables.append([(row["task"], row["kind"], row["reset_seed"]) for row in rows_of(path)])
    assert tables[0] == tables[1]
    seeds = {(row["data_episodes"], row["task"]): [] for row in rows_of(run)}
    for row in rows_of(run):
        if row["kind"] == "evaluation":
            seeds[row["data_episodes"], row["task"]].append(int(row["reset_seed"]))
    # They are those of the zero-shot evaluation, so that the curve begins where that one is.
    assert all(tuple(own) == seeds_of_zero_shot(4, 3) for own in seeds.values())
    data = [int(row["reset_seed"]) for row in rows_of(run) if (row["task"], row["kind"]) == ("0", "data")]
    assert tuple(data) == seeds_of_adaptation(4, 2)
    assert seeds_of_adaptation(4, 5)[:2] == seeds_of_adaptation(4, 2)
    # The start of the toy costs 0.01 x a step, where x was drawn at reset.
    costly = [row for row in rows_of(other) if row["kind"] == "evaluation"]
    returns = {float(row["return"]) for row in costly if (row["task"], row["data_episodes"]) == ("0", "0")}
    assert len(returns) > 1, "resets should differ"


def test_evaluations_change_nothing_of_what_follows(make_run):
    path = make_run(agent_kwargs={"noise": 0.5})
    data = []
    for count in (1, 4):
        adapt(path, 3, splits=["train"], eval_episodes=count, again=True, say=quiet)
        data.append([float(row["return"]) for row in rows_of(path) if row["kind"] == "data"])
    assert data[0] == data[1]
    assert len(set(data[0][:3])) == 3, "what the agent draws should differ between episodes"


def test_what_evaluations_teach_is_taken_back(run, monkeypatch):
    adapt(run, 2, splits=["train"], eval_episodes=2, say=quiet)
    known = [float(row["return"]) for row in rows_of(run)]
    monkeypatch.setattr("tests.evaluation.adaptation.knowing.KnowingAdaptation.restore", lambda *_: None)
    adapt(run, 2, splits=["train"], eval_episodes=2, again=True, say=quiet)
    assert not np.allclose([float(row["return"]) for row in rows_of(run)], known, atol=1e-3)


@pytest.mark.parametrize("envs", [1, 3, 64])
def test_how_many_tasks_are_side_by_side_changes_nothing_of_what_is_not_drawn(run, envs):
    adapt(run, 2, splits=["train"], eval_episodes=1, envs=envs, say=quiet)
    for row in rows_of(run):
        if row["kind"] == "evaluation":
            known = min(int(row["data_episodes"]), 2) / 2
            total, _ = expected(context_of(row), int(row["reset_seed"]), known)
            assert float(row["return"]) == pytest.approx(total, abs=1e-4)


def test_a_task_gets_its_own_transitions_and_no_more(make_run, monkeypatch):
    path = make_run(env_kwargs={"mode": "visible"})
    seen = []

    def watching(adaptation, *arguments, **settings):
        observe = adaptation.observe
        adaptation.observe = lambda step: (seen.append(step), observe(step))
        try:
            return play_together(adaptation, *arguments, **settings)
        finally:
            adaptation.observe = observe

    monkeypatch.setattr(playing, "play_together", watching)
    result = adapt(path, 1, splits=["extrapolation"], eval_episodes=1, say=quiet)
    lengths = np.ceil(np.minimum(10, result.results.plan.contexts("extrapolation")[:, 1])).astype(int)
    assert len(set(lengths.tolist())) > 1
    first = seen[: lengths.max()]
    np.testing.assert_array_equal(np.sum([one.playing for one in first], axis=0), lengths)
    for step, one in enumerate(first):
        played = step < lengths
        np.testing.assert_array_equal(one.playing, played)
        np.testing.assert_array_equal(one.terminated, (step == lengths - 1) & (lengths < 10))
        # The second number of the toy's observation counts steps, also in the last one of an episode.
        after = one.next_observations["observation"][:, 1]
        np.testing.assert_allclose(after, np.minimum(step + 1, lengths) / 10, atol=1e-6)
        np.testing.assert_array_equal(one.rewards[~played], 0)
        assert {array.dtype for array in (one.actions, one.rewards)} == {np.dtype(np.float32)}


def test_what_was_played_is_not_played_again(run, monkeypatch):
    first = adapt(run, 2, splits=["train"], eval_episodes=1, say=quiet)
    before = contents(run)
    with monkeypatch.context() as patched:
        patched.setattr(evaluating, "adapt_block", None)
        again = adapt(run, 2, splits=["train"], eval_episodes=1, say=quiet)
        written = report_adaptation(run)
    assert (first.simulated, again.simulated, written.simulated) == (4, 0, 0)
    assert first.summary == again.summary == written.summary
    assert contents(run) == before
    more = adapt(run, 2, tasks=["pull=0.25"], eval_episodes=1, say=quiet)
    more = adapt(run, 2, tasks=["pull=-0.25", {"pull": 0.25}], eval_episodes=1, say=quiet)
    assert more.simulated == 1
    assert more.results.plan.names == ("train", "given")
    assert [one.context for one in more.summary.tasks[4:]] == ["pull=0.25,limit=10", "pull=-0.25,limit=10"]
    assert [row for row in rows_of(run) if row["split"] == "train"] == [
        row for row in csv.DictReader(before[run / "eval/adaptation/episodes.csv"].decode().splitlines())
    ]
    anew = adapt(run, 1, tasks=["pull=0.25"], eval_episodes=1, say=quiet)
    assert anew.results.plan.names == ("given",)


def test_playing_a_set_again_leaves_the_others(run):
    numbers = {"eval_episodes": 1, "say": quiet}
    adapt(run, 1, splits=["train"], tasks=["pull=0.25"], **numbers)
    table = rows_of(run)
    again = adapt(run, 1, tasks=["pull=0.25"], again=True, **numbers)
    assert (again.simulated, again.results.plan.names) == (1, ("train", "given"))
    assert rows_of(run) == table
    spoken = []
    adapt(run, 1, tasks=["pull=0.25"], eval_episodes=2, say=spoken.append)
    assert spoken[0].startswith("an earlier evaluation, of other numbers")
    assert {row["split"] for row in rows_of(run)} == {"given"}


def test_one_value_in_place_of_a_list_is_refused(run):
    before = contents(run)
    for name, value in (("tasks", "pull=0.2"), ("tasks", {"pull": 0.2}), ("splits", "train"), ("seeds", 3)):
        with pytest.raises(ConfigError, match=f"{name} must be a list, got .*: put it in brackets"):
            adapt(run, 1, **{name: value}, say=quiet)
    assert contents(run) == before
    tasks = np.array([[0.2, 10.0], [0.1, 8.0]])
    assert adapt(run, 1, tasks=tasks, eval_episodes=1, say=quiet).simulated == 2


def test_a_stopped_evaluation_goes_on_and_the_earlier_one_stays(run, monkeypatch):
    adapt(run, 1, splits=["train"], eval_episodes=1, say=quiet)
    earlier = rows_of(run)
    straight = shutil.copytree(run, run.parent / "straight")
    adapt(straight, 2, splits=["train"], eval_episodes=2, envs=2, say=quiet)
    real, calls = playing.adapt_block, []

    def failing(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(evaluating, "adapt_block", failing)
        with pytest.raises(KeyboardInterrupt):
            adapt(run, 2, splits=["train"], eval_episodes=2, envs=2, say=quiet)
    assert rows_of(run) == earlier
    (unfinished,) = (run / "eval" / "adaptation").glob("unfinished-*.jsonl")
    unfinished.write_text(unfinished.read_text() + '\n[["train", "pull=0')
    spoken = []
    result = adapt(run, 2, splits=["train"], eval_episodes=2, envs=2, say=spoken.append)
    assert result.simulated == 2
    assert "2 of 4 adaptations were played before" in spoken
    assert rows_of(run) == rows_of(straight)
    assert not unfinished.exists()


def test_a_changed_table_is_not_trusted(run):
    adapt(run, 1, splits=["train"], eval_episodes=1, say=quiet)
    table = run / "eval" / "adaptation" / "episodes.csv"
    table.write_text(table.read_text().replace("train", "trian"))
    with pytest.raises(RunFolderError, match=r"episodes.csv is not the table .*--again"):
        report_adaptation(run)
    assert adapt(run, 1, splits=["train"], eval_episodes=1, say=quiet).simulated == 4


def test_the_facade_and_the_json_have_the_numbers_of_the_table(run):
    result = hyperrl.adapt(run, 2, splits=["extrapolation"], eval_episodes=2, say=quiet)
    data = json.loads((run / "eval" / "adaptation" / "report.json").read_text())
    own = [row for row in rows_of(run) if (row["kind"], row["data_episodes"]) == ("evaluation", "1")]
    means = np.array([float(row["return"]) for row in own]).reshape(4, 2).mean(axis=1)
    point = data["sets"][0]["points"][1]
    assert point["mean"]["estimate"] == pytest.approx(means.mean())
    assert point["iqm"]["estimate"] == pytest.approx(np.sort(means)[1:3].mean())
    assert [one["returns"][1] for one in data["tasks"]] == pytest.approx(list(means))
    assert data["plan"]["episodes"] == 2
    assert result.page.name == "report.html"
