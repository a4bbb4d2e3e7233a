import shutil

import pytest

from hyperrl.cli import main


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run.folder.path, tmp_path / "run")


@pytest.mark.parametrize("steps", [[], ["--steps", "300"]])
def test_a_finished_run_is_left_alone_and_said_to_be_so(capsys, run, steps):
    for _ in range(2):  # As a job that is put back into the queue until it succeeds.
        assert main(["resume", str(run), *steps]) == 0
        out, err = capsys.readouterr()
        assert err == "note: the run has all of its 300 steps: nothing was left to do\n"
        assert "td3 on Pendulum-v1, 300 steps" in out
        assert out.splitlines()[-1] == str(run)


def test_a_finished_run_cannot_be_shortened(capsys, run):
    assert main(["resume", str(run), "--steps", "299"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "has 300 steps already, more than 299" in err


def test_a_run_that_is_lengthened_says_nothing_of_it(capsys, run):
    assert main(["resume", str(run), "--steps", "301"]) == 0
    assert capsys.readouterr().err == ""
