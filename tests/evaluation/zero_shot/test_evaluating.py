"""The zero-shot evaluation of a run, from its folder to the report, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest

from hyperrl.cli import main
from hyperrl.environments import make_env
from hyperrl.errors import ContextError, RunFolderError, UnknownNameError
from hyperrl.evaluate import evaluate_zero_shot, report_zero_shot
from hyperrl.evaluation.rollout import play_episode
from hyperrl.evaluation.zero_shot.figures import png_of
from hyperrl.evaluation.zero_shot.unfinished import Unfinished
from hyperrl.loading import load_agent
from hyperrl.run import RunFolder

SPLITS = ("train", "interpolation", "extrapolation")


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
    monkeypatch.setattr("hyperrl.evaluation.zero_shot.run_report.png_of", lambda figure: b"png")


def rows_of(run):
    with (run / "eval" / "zero-shot" / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_table_is_what_the_policy_does_one_episode_at_a_time(run):
    evaluate_zero_shot(run, SPLITS, 2, seeds=(0, 4), say=quiet)
    rows = rows_of(run)
    assert len(rows) == 3 * 3 * 4 * 4
    agent, _ = load_agent(RunFolder.open(run))
    env = make_env("ToyContexts-v0")
    for row in (row for row in rows if row["ablation"] == "none"):
        context = {name: float(row[f"context_{name}"]) for name in ("pull", "limit")}
        env.unwrapped.fixed = context
        episode = play_episode(agent, env, int(row["reset_seed"]))
        assert float(row["return"]) == pytest.approx(episode.episode_return, abs=2e-5)
        assert (int(row["length"]), row["terminated"]) == (episode.length, str(int(episode.terminated)))
        assert row["context"] == env.unwrapped.context_space.text(env.unwrapped.context)


def test_the_report_has_the_numbers_of_the_table(run):
    result = evaluate_zero_shot(run, ("extrapolation",), 3, say=quiet)
    data = json.loads((run / "eval" / "zero-shot" / "report.json").read_text())
    own = [float(row["return"]) for row in rows_of(run) if row["ablation"] == "none"]
    means = np.array(own).reshape(4, 3).mean(axis=1)
    assert data["splits"][0]["mean"]["estimate"] == pytest.approx(means.mean())
    assert data["splits"][0]["iqm"]["estimate"] == pytest.approx(np.sort(means)[1:3].mean())
    assert [one["mean"] for one in data["contexts"]] == pytest.approx(list(means))
    assert data["subject"] == {
        "env": "ToyContexts-v0",
        "agent": "ppo",
        "run_seed": 0,
        "checkpoint": "latest",
        "steps": 32,
    }
    assert data["costs"]["trainable_parameters"] > 0
    text = (run / "eval" / "zero-shot" / "report.md").read_text()
    assert f"| extrapolation | 4 | {means.mean():.4g}"[:22] in text
    assert result.page == run / "eval" / "zero-shot" / "report.html"


def test_the_page_needs_nothing_else(run, monkeypatch):
    monkeypatch.setattr("hyperrl.evaluation.zero_shot.run_report.png_of", png_of)
    evaluate_zero_shot(run, SPLITS, 2, say=quiet)
    folder = run / "eval" / "zero-shot"
    page = (folder / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"url\(|@import|<script|<link|https?://", page)
    assert 'name="viewport"' in page
    pictures = {"contexts.png", "ablations.png", "distance.png", "profile.png"}
    assert {path.name for path in folder.glob("*.png")} == pictures
    for name in pictures:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in (folder / "report.md").read_text()


def test_the_same_evaluation_is_not_simulated_again(run, monkeypatch):
    first = evaluate_zero_shot(run, SPLITS, 2, say=quiet)
    before = contents(run)
    monkeypatch.setattr("hyperrl.evaluation.zero_shot.evaluating.play_cases", None)
    second = evaluate_zero_shot(run, SPLITS, 2, say=quiet)
    third = report_zero_shot(run)
    assert (first.simulated, second.simulated, third.simulated) == (3 * 3 * 4 * 2, 0, 0)
    assert second.summary == first.summary == third.summary
    assert contents(run) == before


def test_another_split_is_added_and_other_numbers_begin_anew(run):
    evaluate_zero_shot(run, ("train",), 2, ablations=(), say=quiet)
    known = rows_of(run)
    more = evaluate_zero_shot(run, ("interpolation",), 2, ablations=(), say=quiet)
    assert more.simulated == 4 * 2
    assert rows_of(run)[:8] == known
    assert {row["split"] for row in rows_of(run)} == {"train", "interpolation"}
    anew = evaluate_zero_shot(run, ("train",), 3, ablations=(), say=quiet)
    assert anew.simulated == 4 * 3
    assert {row["split"] for row in rows_of(run)} == {"train"}
    assert evaluate_zero_shot(run, ("train",), 3, ablations=(), again=True, say=quiet).simulated == 12


def test_a_table_that_was_changed_is_not_trusted(run):
    first = evaluate_zero_shot(run, ("train",), 2, say=quiet)
    table = run / "eval" / "zero-shot" / "episodes.csv"
    table.write_text(table.read_text().replace("train", "trian"))
    with pytest.raises(RunFolderError, match=r"episodes.csv is not the table .*--again"):
        report_zero_shot(run)
    assert evaluate_zero_shot(run, ("train",), 2, say=quiet).simulated == first.simulated
    assert report_zero_shot(run).summary == first.summary


@pytest.mark.parametrize(
    "kwargs", [{"append": "flat"}, {"append": "flat", "dims": 1, "units": "raw"}, {"dims": 3}]
)
def test_other_forms_of_observations(make_run, kwargs):
    run = make_run(env_kwargs=kwargs, normalize="append" in kwargs)
    result = evaluate_zero_shot(run, ("train", "extrapolation"), 1, say=quiet)
    assert result.simulated == 2 * 3 * 4
    assert set(result.summary.splits[0].losses) == {"shuffled", "mean"}


def test_a_policy_that_does_not_see_the_context_has_no_ablations(make_run):
    run = make_run(env_kwargs={"mode": "hidden"})
    result = evaluate_zero_shot(run, ("train",), 1, say=quiet)
    assert result.summary.splits[0].losses == {}
    with pytest.raises(ContextError, match="hidden from the policy"):
        evaluate_zero_shot(run, ("train",), 1, ablations=("mean",), say=quiet)


def test_experts_give_scores(run, make_run, tmp_path):
    table = tmp_path / "experts.csv"
    table.write_text("pull,limit,return\n-1,2,0\n1,2,0\n-1,20,0\n1,20,0\n")
    result = evaluate_zero_shot(run, ("train",), 2, experts=[table], ablations=(), say=quiet)
    assert result.simulated == 2 * 4 * 2
    for one in result.summary.contexts:
        # The expert earns nothing, which is the most that there is.
        score = 1 - one.mean / one.ablations["random"]
        assert one.normalised == pytest.approx(score)
    split = result.summary.splits[0]
    gaps = [max(0, 1 - one.normalised) for one in result.summary.contexts]
    assert split.optimality_gap.estimate == pytest.approx(np.mean(gaps))
    assert "4 experts of one context each" in (run / "eval" / "zero-shot" / "report.md").read_text()

    corners = [{"pull": pull, "limit": 20.0} for pull in (-1.0, 1.0)]
    runs = [make_run(env_kwargs={"fixed": context}) for context in corners]
    spoken = []
    result = evaluate_zero_shot(run, ("train",), 2, experts=runs, ablations=(), say=spoken.append)
    assert result.simulated == 0
    assert [expert.context for expert in result.record.experts] == [(-1.0, 20.0), (1.0, 20.0)]
    assert len(spoken) == 2
    again = evaluate_zero_shot(run, ("train",), 2, experts=runs, ablations=(), say=spoken.append)
    assert len(spoken) == 2, "an expert that was measured is not measured again"
    assert again.record.experts == result.record.experts
    assert report_zero_shot(run).summary == result.summary


def test_wrong_experts_are_refused(run, make_run, tmp_path, finished_run):
    table = tmp_path / "experts.csv"
    for text, sentence in (
        ("pull,return\n1,2\n", "lacks limit in a row"),
        ("pull,limit,return\n", "has no rows"),
        ("pull,limit,return\n1,x,3\n", "could not convert"),
        ("pull,limit,return\n1,5,nan\n", "has the return nan"),
        ("pull,limit,return\n9,5,1\n", "must be from -1 to 1, got 9"),
    ):
        table.write_text(text)
        with pytest.raises((ContextError, ValueError), match=sentence):
            evaluate_zero_shot(run, ("train",), 1, experts=[table], say=quiet)
    with pytest.raises(ContextError, match="was trained in several contexts"):
        evaluate_zero_shot(run, ("train",), 1, experts=[run], say=quiet)
    with pytest.raises(ContextError, match="was trained on Pendulum-v1"):
        evaluate_zero_shot(run, ("train",), 1, experts=[finished_run.folder.path], say=quiet)
    with pytest.raises(RunFolderError, match="there is no folder"):
        evaluate_zero_shot(run, ("train",), 1, experts=[tmp_path / "none"], say=quiet)


def test_an_evaluation_that_is_interrupted_leaves_the_earlier_one(run, monkeypatch):
    evaluate_zero_shot(run, ("train",), 2, say=quiet)
    before = contents(run)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    for place in ("evaluating.play_cases", "records.write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(f"hyperrl.evaluation.zero_shot.{place}", interrupt)
            with pytest.raises(KeyboardInterrupt):
                evaluate_zero_shot(run, ("train",), 3, say=quiet)
        assert {path: data for path, data in contents(run).items() if path.suffix != ".jsonl"} == before
    assert evaluate_zero_shot(run, ("train",), 3, say=quiet).simulated == 0, "all were played"


def test_an_evaluation_that_is_stopped_goes_on_where_it_was(run, monkeypatch):
    whole = evaluate_zero_shot(shutil.copytree(run, run.parent / "other"), ("train",), 5, envs=3, say=quiet)
    folder = run / "eval" / "zero-shot"
    add, added = Unfinished.add, []

    def add_some(self, played):
        add(self, played)
        added.append(played)
        if len(added) == 25:
            raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "add", add_some)
    with pytest.raises(KeyboardInterrupt):
        evaluate_zero_shot(run, ("train",), 5, envs=3, say=quiet)
    (file,) = folder.iterdir()
    file.write_text(file.read_text()[:-9])  # The last line is cut off.
    with pytest.raises(RunFolderError, match="holds no zero-shot evaluation"):
        report_zero_shot(run)
    said = []
    result = evaluate_zero_shot(run, ("train",), 5, envs=3, say=said.append)
    assert (whole.simulated, result.simulated) == (60, 60 - 24)
    assert said[0] == "24 of 60 episodes were played before"
    assert result.record.results.outcomes == whole.record.results.outcomes
    assert not list(folder.glob("*.jsonl"))


def test_episodes_of_another_policy_are_not_taken_up(run, monkeypatch):
    monkeypatch.setattr("hyperrl.evaluation.zero_shot.evaluating.Records.write", None)
    for checkpoint in ("latest", "0", "0"):
        with pytest.raises(TypeError):
            evaluate_zero_shot(run, ("train",), 1, checkpoint=checkpoint, ablations=(), say=quiet)
    files = list((run / "eval" / "zero-shot").glob("*.jsonl"))
    assert len(files) == 2
    assert [len(file.read_text().split()) > 0 for file in files] == [True, True]
    monkeypatch.undo()
    monkeypatch.setattr("hyperrl.evaluation.zero_shot.run_report.png_of", lambda figure: b"png")
    assert evaluate_zero_shot(run, ("train",), 1, checkpoint="0", ablations=(), say=quiet).simulated == 0
    assert evaluate_zero_shot(run, ("train",), 1, ablations=(), again=True, say=quiet).simulated == 4


def test_what_cannot_be_written_is_said_before_anything_is_simulated(run, monkeypatch):
    monkeypatch.setattr("hyperrl.evaluation.zero_shot.evaluating.os.access", lambda *args: False)
    monkeypatch.setattr("hyperrl.evaluation.zero_shot.evaluating.play_cases", None)
    with pytest.raises(RunFolderError, match="cannot be written"):
        evaluate_zero_shot(run, ("train",), 1, say=quiet)
    with pytest.raises(RunFolderError, match="holds no zero-shot evaluation"):
        report_zero_shot(run)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--split", "extrapolate"],
            "did you mean 'extrapolation'? (valid: extrapolation, extrapolation_all, ",
        ),
        (["--split", ""], "--split needs the name"),
        (["--split", "train", "--episodes", "0"], "episodes must be a whole number from 1"),
        (["--split", "train", "--episodes", "x y"], "neither a TOML value"),
        (["--split", "train", "--seeds", "0,0"], "one or more different numbers"),
        (["--split", "train", "--seeds", "-1"], "seeds must be a whole number"),
        (["--split", "train", "--ablation", "shufled"], "did you mean 'shuffled'?"),
        (["--split", "train", "--envs", "0"], "envs must be a whole number"),
        (["--split", "train", "--checkpoint", "bst"], "'bst', did you mean 'best'?"),
        (["--split", "train", "--experts", "nowhere"], "there is no folder"),
        (["--split", "train", "--architecture", "8"], "--architecture is not for --split"),
        (["--seeds", "1"], "--seeds needs --split"),
        (["--again"], "--again needs --split"),
        (["--report-only"], "holds no zero-shot evaluation"),
        (["--report-only", "--split", "train"], "it takes the folder alone"),
    ],
)
def test_wrong_words_change_nothing(run, capsys, options, sentence):
    before = contents(run)
    assert main(["evaluate", str(run), *options]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert contents(run) == before
    assert not (run / "eval" / "zero-shot").exists()


def test_a_run_without_contexts_is_refused(finished_run, tmp_path, capsys):
    run = shutil.copytree(finished_run.folder.path, tmp_path / "run")
    before = contents(run)
    assert main(["evaluate", str(run), "--split", "train"]) == 2
    assert "Pendulum-v1 has no contexts" in capsys.readouterr().err
    assert contents(run) == before


def test_the_command_line(run, capsys):
    words = ["--split", "train", "--split", "extrapolation", "--episodes", "2", "--seeds", "0,3"]
    assert main(["evaluate", str(run), *words, "--ablation", "none", "--envs", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(run / "eval" / "zero-shot" / "report.html")
    assert [line.split()[0] for line in lines[-3:-1]] == ["train", "extrapolation"]
    assert "4 episodes in each context, 32 played now" in lines[-4]
    assert {row["seed"] for row in rows_of(run)} == {"0", "3"}
    assert main(["evaluate", str(run), "--report-only"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == lines[-3:]


def test_an_unknown_split_names_the_valid_ones(run):
    with pytest.raises(UnknownNameError, match="interpolation, train"):
        evaluate_zero_shot(run, ("nothing",), 1, say=quiet)
