"""The verb `compare`, from run folders to the report."""

from __future__ import annotations

import json
import shutil

import pytest

from hyperrl.cli import main
from hyperrl.compare import compare
from hyperrl.errors import ContextError, UsageError
from hyperrl.evaluate import evaluate_zero_shot


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Pictures take longer than all the rest."""
    for module in ("run_report", "comparison_report"):
        monkeypatch.setattr(f"hyperrl.evaluation.zero_shot.{module}.png_of", lambda figure: b"png")


@pytest.fixture(scope="module")
def evaluated(make_run):
    """Two seeds of a policy that sees the context, one that does not."""
    paths = [make_run(seed=seed) for seed in (0, 1)] + [make_run(env_kwargs={"mode": "hidden"})]
    for path in paths:
        evaluate_zero_shot(path, ("train", "extrapolation"), 2, say=lambda line: None)
    return paths


def test_the_comparison_has_the_episodes_of_the_runs(evaluated, tmp_path, capsys):
    out = tmp_path / "report"
    assert main(["compare", *map(str, evaluated), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(out / "report.html")
    assert "extrapolation: ppo mode=hidden over ppo" in said
    data = json.loads((out / "report.json").read_text())
    assert {(one["method"], one["runs"]) for one in data["cells"]} == {("ppo", 2), ("ppo mode=hidden", 1)}
    own = [json.loads((path / "eval/zero-shot/report.json").read_text()) for path in evaluated[:2]]
    means = [one["mean"] for each in own for one in each["contexts"] if one["split"] == "extrapolation"]
    cell = next(one for one in data["cells"] if (one["method"], one["split"]) == ("ppo", "extrapolation"))
    assert cell["mean"]["estimate"] == pytest.approx(sum(means) / len(means))
    assert {path.suffix for path in out.iterdir()} == {".html", ".md", ".json", ".png"}


def test_without_a_folder_nothing_is_written(evaluated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = compare(evaluated, labels=["sees", "sees", "blind"])
    assert [method.label for method in result.methods] == ["sees", "blind"]
    assert result.page is None
    assert not list(tmp_path.iterdir())


def test_a_table_of_experts_gives_scores(evaluated, tmp_path):
    table = tmp_path / "experts.csv"
    table.write_text("pull,limit,return\n-1,2,0\n1,20,0\n")
    copies = [shutil.copytree(path, tmp_path / str(number)) for number, path in enumerate(evaluated)]
    evaluate_zero_shot(copies[0], ("train",), 2, experts=[table], say=lambda line: None)
    cells = compare(copies).comparison.cells
    assert all(cell.normalised is not None for cell in cells)
    assert compare(copies, experts=table).comparison.cells == cells


def test_what_cannot_be_compared_changes_nothing(evaluated, make_run, tmp_path, capsys, finished_run):
    out = tmp_path / "report"
    other = shutil.copytree(evaluated[0], tmp_path / "other")
    evaluate_zero_shot(other, ("train", "extrapolation"), 3, say=lambda line: None)
    for runs, sentence in (
        ([evaluated[0], other], "cannot be compared: the episodes in each context differ, 2 and 3"),
        ([evaluated[0], make_run(seed=5)], "holds no zero-shot evaluation: make one with hyperrl evaluate"),
        ([evaluated[0], finished_run.folder.path], "holds no zero-shot evaluation"),
        ([evaluated[0], evaluated[0]], "one folder is given twice"),
        ([evaluated[0], evaluated[0] / "eval" / "..", "--label", "a", "--label", "b"], "given twice"),
        ([evaluated[0]], "needs the folders of two runs or more"),
        ([evaluated[0], tmp_path / "none"], "there is no folder"),
        ([*evaluated, "--label", "one"], "give as many labels, got 1"),
        ([*evaluated, "--experts", "none.csv"], "the table of experts none.csv cannot be read"),
    ):
        assert main(["compare", *map(str, runs), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1
        assert not out.exists()


def test_wrong_calls_are_refused(evaluated):
    with pytest.raises(UsageError, match="needs the folders of runs"):
        compare(str(evaluated[0]))
    with pytest.raises(UsageError, match="needs the folders of runs"):
        compare([])


def test_experts_that_contradict_each_other_are_refused(evaluated, tmp_path):
    copies = [shutil.copytree(path, tmp_path / str(number)) for number, path in enumerate(evaluated)]
    table = tmp_path / "experts.csv"
    for copy, value in zip(copies, (0, 0, 7), strict=True):
        table.write_text(f"pull,limit,return\n-1,2,{value}\n")
        evaluate_zero_shot(copy, ("train",), 2, experts=[table], say=lambda line: None)
    with pytest.raises(ContextError, match="different experts of the context pull=-1,limit=2"):
        compare(copies)
