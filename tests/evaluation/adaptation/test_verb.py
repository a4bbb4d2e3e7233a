"""The verb `adapt` from the command line: reports, comparisons, exports, and what is refused."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from hyperrl.adapt import adapt
from hyperrl.cli import main
from hyperrl.evaluate import evaluate_zero_shot
from hyperrl.plain_policy import PlainPolicy
from tests.evaluation.adaptation.knowing import KnowingAdaptation, expected


def quiet(line):
    """Say nothing."""


@pytest.fixture(scope="module")
def trained(make_run):
    return make_run()


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def no_pictures(monkeypatch):
    for module in ("run_report", "comparison_report"):
        monkeypatch.setattr(f"hyperrl.evaluation.adaptation.{module}.png_of", lambda figure: b"png")


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_report_needs_nothing_else(run, capsys):
    words = ["--episodes", "2", "--eval-episodes", "2", "--split", "train", "--task", "pull=0.3"]
    assert main(["adapt", str(run), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    folder = run / "eval" / "adaptation"
    assert lines[-1] == str(folder / "report.html")
    # The pull 0.3 costs 0.09 a step, half of it a quarter of that.
    assert re.fullmatch(r"  given +1 tasks  IQM after 0: -0.900 .* 1: -0.22\d .*  2: .*", lines[-2])
    page = (folder / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert not re.search(r"url\(|@import|<script|<link|https?://", page)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in folder.iterdir()} == {
        *("plan.json", "episodes.csv", "curve.png"),
        *("report.md", "report.json", "report.html"),
    }
    before = contents(run)
    assert main(["adapt", str(run), "--report-only"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == lines[-3:]
    assert contents(run) == before


@pytest.mark.usefixtures("no_pictures")
def test_methods_are_compared_by_their_curves(make_run, tmp_path, capsys):
    paths = [make_run(), make_run(seed=1), make_run(agent_kwargs={"parts": 4})]
    for path in paths:
        assert main(["adapt", str(path), "--episodes", "2", "--split", "train", "--eval-episodes", "1"]) == 0
    out = tmp_path / "report"
    capsys.readouterr()
    labels = ["--label", "quick", "--label", "quick", "--label", "slow"]
    assert main(["compare", "--adaptation", *map(str, paths), *labels, "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(out / "report.html")
    assert "train after 0: quick over slow 0.500 [0.500, 0.500]" in said
    assert "train after 2: quick over slow 1.000 [1.000, 1.000]" in said
    data = json.loads((out / "report.json").read_text())
    assert [(one["method"], one["runs"]) for one in data["curves"]] == [("quick", 2), ("slow", 1)]
    own = json.loads((paths[2] / "eval/adaptation/report.json").read_text())
    assert [one["estimate"] for one in data["curves"][1]["iqm"]] == pytest.approx(
        [point["iqm"]["estimate"] for point in own["sets"][0]["points"]]
    )
    assert {path.name for path in out.iterdir()} == {
        "curve.png",
        *("report.md", "report.json", "report.html"),
    }
    before = contents(out)
    other = make_run(seed=3)
    for runs, sentence in (
        ([paths[0], other], "holds no evaluation of adaptation: make one with hyperrl adapt RUN"),
        ([paths[0], paths[0]], "one folder is given twice"),
        ([paths[0], paths[1], "--experts", "x.csv"], "--experts is for zero-shot evaluations"),
    ):
        assert main(["compare", "--adaptation", *map(str, runs), "--out", str(out)]) == 2
        assert_sentence(capsys, sentence)
    assert main(["adapt", str(other), "--episodes", "3", "--split", "train"]) == 0
    capsys.readouterr()
    assert main(["compare", "--adaptation", str(paths[0]), str(other)]) == 2
    assert_sentence(capsys, "cannot be compared: the episodes of data differ, 2 and 3")
    assert contents(out) == before


def assert_sentence(capsys, sentence):
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--episodes", "2", "--split", "intepolation"], "did you mean 'interpolation'?"),
        (["--episodes", "2", "--task", "pull=3"], "pull must be from -1 to 1, got 3"),
        (["--episodes", "2", "--task", "pul=0.3"], "did you mean 'pull'?"),
        (["--episodes", "2", "--task", "pull=nan"], "must be finite"),
        (["--episodes", "2", "--task", "pull"], "a context is written like 'pull=0,limit=10'"),
        (["--episodes", "2", "--task", "pull=0", "--task", "pull=0"], "pull=0,limit=10 is given twice"),
        (["--episodes", "2", "--task", ""], "--task needs a value"),
        ([], "adapt needs a number of episodes of data, for example --episodes 3"),
        (["--episodes", "0"], "an adaptation needs at least one episode of data"),
        (["--episodes", "-1"], "episodes must be a whole number from 1 to 1000"),
        (["--episodes", "1001"], "episodes must be a whole number from 1 to 1000"),
        (["--episodes", "2", "--eval-episodes", "0"], "eval_episodes must be a whole number from 1"),
        (["--episodes", "2", "--seeds", "0,0"], "one or more different numbers"),
        (["--episodes", "2", "--seeds", "-1"], "seeds must be a whole number"),
        (["--episodes", "2", "--envs", "0"], "envs must be a whole number"),
        (["--episodes", "2", "--checkpoint", "bst"], "'bst', did you mean 'best'?"),
        (["--episodes", "2", "--out", "x"], "--out needs --export"),
        (["--episodes", "2", "--overwrite"], "--overwrite needs --export"),
        (["--report-only"], "holds no evaluation of adaptation"),
        (["--report-only", "--episodes", "2"], "it takes the folder alone"),
        (["--report-only", "--seed", "1"], "it takes the folder alone"),
        (["--report-only", "--checkpoint", "best"], "it takes the folder alone"),
        (["--episodes", "2", "--seed", "1", "--seeds", "2,3"], "--seed and --seeds say the same"),
        (["--episodes", "2", "--export", "npz"], "give one --task, got 0"),
        (
            ["--episodes", "2", "--export", "npz", "--task", "pull=0", "--split", "train"],
            "--split is not for",
        ),
        (["--episodes", "2", "--export", "npy", "--task", "pull=0"], "did you mean 'npz'?"),
        (["--episodes", "0", "--export", "npz", "--task", "pull=0"], "at least one episode of data"),
        (["--episodes", "2", "--export", "npz", "--task", "pull=0", "--seed", "-1"], "seed must be a whole"),
    ],
)
def test_wrong_words_change_nothing(run, capsys, options, sentence):
    before = contents(run)
    assert main(["adapt", str(run), *options]) == 2
    assert_sentence(capsys, sentence)
    assert contents(run) == before
    assert not (run / "eval" / "adaptation").exists()


def test_the_verb_explains_itself(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["adapt", "--help"])
    assert not stop.value.code
    assert capsys.readouterr().out.startswith("usage: hyperrl adapt")


def test_runs_that_cannot_adapt_are_refused(finished_run, make_run, capsys, tmp_path):
    for path, sentence in (
        (finished_run.folder.path, "td3 cannot adapt to a task: give a run of an agent with the method"),
        (make_run(env="Pendulum-v1"), "Pendulum-v1 has no contexts, so there are no tasks to adapt to"),
        (tmp_path / "none", "there is no folder"),
        ("", "adapt needs the folder of a run"),
    ):
        assert main(["adapt", str(path), "--episodes", "2"]) == 2
        assert_sentence(capsys, sentence)


@pytest.mark.parametrize("mode", ["hidden", "visible"])
def test_the_adapted_policy_is_exported(make_run, tmp_path, capsys, mode):
    run = make_run(env_kwargs={"mode": mode}, agent_kwargs={"parts": 4})
    out = tmp_path / "out"
    words = ["--task", "pull=0.4", "--episodes", "2", "--export", "npz,c99", "--out", str(out)]
    before = contents(run)
    assert main(["adapt", str(run), *words, "--eval-episodes", "3"]) == 0
    said = capsys.readouterr().out.splitlines()
    # Data are played with the action 1.
    assert said[0] == "returns of the episodes of data: -3.6, -3.6"
    place = "linear-pull=0.4-limit=10-after-2"
    assert sorted(path.name for path in out.iterdir()) == [f"c99-{place}", f"npz-{place}"]
    manifest = json.loads((out / f"npz-{place}" / "manifest.json").read_text())
    assert manifest["provenance"]["context"] == {"pull": 0.4, "limit": 10.0}
    assert manifest["provenance"]["adapted"] == {
        "episodes": 2,
        "seed": 0,
        "returns": pytest.approx([-3.6, -3.6]),
    }
    # Half of the pull is known: what is left costs 0.04 in each of ten steps.
    assert manifest["evaluation"]["return_mean"] == pytest.approx(-0.4, abs=1e-5)
    assert manifest["parity"]["largest_errors"]["the trained model's own predict"] < 1e-5
    assert contents(run) == before
    assert main(["adapt", str(run), *words]) == 2
    assert_sentence(capsys, "is not empty")


def test_a_policy_that_does_not_act_as_the_agent_does_is_not_exported(
    make_run, tmp_path, capsys, monkeypatch
):
    run, real = make_run(), KnowingAdaptation.specialise
    words = ["--task", "pull=0.4", "--episodes", "2", "--export", "npz", "--out", str(tmp_path / "out")]

    def wrong(adaptation, task):
        adaptation.pulls = adaptation.pulls + 0.1
        policy = real(adaptation, task)
        adaptation.pulls = adaptation.pulls - 0.1
        return policy

    def wide(adaptation, task):
        policy = real(adaptation, task)
        weights = [np.zeros((1, 3), np.float32)]
        return PlainPolicy.from_arrays(weights, [policy.layers[0].bias], activation="relu", head=policy.head)

    for specialise, sentence in (
        (wrong, "the trained model's own predict"),
        (wide, "takes 3 numbers, but an observation of ToyAdaptation-v0 has 2 without its context"),
    ):
        monkeypatch.setattr(KnowingAdaptation, "specialise", specialise)
        assert main(["adapt", str(run), *words]) == 2
        assert_sentence(capsys, sentence)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lanes", [3, 64])
def test_zero_shot_evaluations_play_with_what_remembers(make_run, lanes, monkeypatch):
    for room in ("zero_shot", "adaptation"):
        monkeypatch.setattr(f"hyperrl.evaluation.{room}.run_report.png_of", lambda figure: b"png")
    run = make_run("remembering")
    result = evaluate_zero_shot(run, ("train", "extrapolation"), 2, envs=lanes, say=quiet)
    results = result.record.results
    for case, outcome in zip(results.cases, results.outcomes, strict=True):
        # The first action is 1 whatever the task, the others are the pull.
        context = results.plan.splits.space.as_dict(case.context)
        _, steps = expected(context, case.reset_seed, 1.0)
        assert outcome.episode_return == pytest.approx(-((1 - context["pull"]) ** 2), abs=1e-4)
        assert outcome.length == steps
    # A curve begins where the zero-shot evaluation is: the same episodes.
    curve = adapt(run, 1, splits=["extrapolation"], eval_episodes=2, envs=lanes, say=quiet)
    assert curve.results.returns("extrapolation", 0).tolist() == results.returns("extrapolation").tolist()
