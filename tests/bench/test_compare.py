import csv

import pytest

from hyperrl.bench import compare
from hyperrl.cli import main
from hyperrl.errors import RunFolderError
from hyperrl.evaluation.statistics import t_interval

HEAD = "name,agent,env,seed,agent_kwargs.compile,status,steps,seconds,first_return,last_return,error\n"


def sweep(folder, runs):
    folder.mkdir()
    lines = []
    for compiled, seed, status, finals, seconds in runs:
        name = f"a_{compiled}_s{seed}"
        lines.append(f"{name},a,E-v0,{seed},{compiled},{status},10,1,0,0,\n")
        path = folder / name / "eval"
        path.mkdir(parents=True)
        text = "steps,seconds,episode,return\n0,0.0,0,0.0\n0,0.0,1,2.0\n"
        text += "".join(f"10,{seconds},{index},{value}\n" for index, value in enumerate(finals))
        (path / "evaluations.csv").write_text(text)
    (folder / "runs.csv").write_text(HEAD + "".join(lines))
    return folder


@pytest.fixture
def sweeps(tmp_path):
    one = sweep(
        tmp_path / "one",
        [
            ("false", 0, "finished", [10, 20], 4),
            ("true", 0, "finished", [11, 25], 2),
            ("true", 2, "failed", [0], 1),
        ],
    )
    two = sweep(tmp_path / "two", [("false", 1, "finished", [30], 8), ("true", 1, "finished", [29], 6)])
    return one, two


def test_settings_are_compared_by_seed(sweeps):
    base, other = compare.summarise([run for folder in sweeps for run in compare.read(folder)])
    assert (base["setting"], other["setting"]) == ("compile=false", "compile=true")
    assert (base["seeds"], other["pairs"], base["pairs"]) == (2, 2, 0)
    assert (base["final"], base["area"]) == (22.5, 11.75)
    expected = t_interval([3.0, -1.0])
    assert (other["final_difference"], other["final_difference_low"]) == (expected.estimate, expected.low)
    assert other["area_difference"] == pytest.approx(0.5)
    assert other["time_ratio"] == pytest.approx((2 / 4 + 6 / 8) / 2)
    assert base["final_difference"] is None


def test_the_verb_writes_episodes_and_summary(sweeps, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["bench", "compare", *map(str, sweeps), "--out", str(out)]) == 0
    with (out / "episodes.csv").open(newline="") as file:
        episodes = list(csv.DictReader(file))
    assert list(episodes[0]) == ["agent", "env", "setting", "seed", "steps", "seconds", "episode", "return"]
    assert len(episodes) == 4 + 4 + 3 + 3
    assert (out / "summary.csv").is_file()
    assert "compile=tr" in capsys.readouterr().out


def test_a_mistake_is_one_sentence(tmp_path, capsys):
    with pytest.raises(RunFolderError, match=r"runs\.csv cannot be read"):
        compare.read(tmp_path)
    unfinished = sweep(tmp_path / "unfinished", [("true", 0, "failed", [1], 1)])
    assert main(["bench", "compare", str(unfinished), "--out", str(tmp_path / "out")]) == 2
    assert "no finished run in" in capsys.readouterr().err


def test_a_run_of_several_seeds_counts_as_so_many(tmp_path):
    folder = sweep(tmp_path / "stacked", [("true", 4, "finished", [1], 1)])
    text = "steps,seconds,seed,episode,return\n0,0,4,0,0\n0,0,5,0,0\n10,1,4,0,6\n10,1,5,0,8\n"
    (folder / "a_true_s4" / "eval" / "evaluations.csv").write_text(text)
    runs = compare.read(folder)
    assert [(run.seed, run.final()) for run in runs] == [(4, 6.0), (5, 8.0)]
    assert compare.summarise(runs)[0]["seeds"] == 2
