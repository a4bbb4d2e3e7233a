import shutil

import pytest

from hyperrl.cli import main
from hyperrl.evaluate import evaluate


@pytest.fixture
def path(finished_run, tmp_path):
    return shutil.copytree(finished_run.folder.path, tmp_path / "run")


def test_evaluate_prints_the_statistics_and_the_file_last(capsys, path):
    assert main(["evaluate", str(path), "--episodes", "4", "--seed", "2", "--checkpoint", "best"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(path / "eval" / "episodes.csv")
    result = evaluate(path, 4, seed=2, checkpoint="best")
    assert lines[0] == f"td3 on Pendulum-v1, checkpoint best after {result.steps} steps"
    for line, name, interval in zip(lines[2:4], ("mean", "IQM"), (result.mean, result.iqm), strict=True):
        assert line.split() == [
            name,
            f"{interval.estimate:.1f}",
            f"[{interval.low:.1f},",
            f"{interval.high:.1f}]",
        ]


def test_an_unknown_checkpoint_is_refused(capsys, path):
    assert main(["evaluate", str(path), "--checkpoint", "bst"]) == 2
    assert "did you mean 'best'?" in capsys.readouterr().err
