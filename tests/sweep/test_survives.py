"""A sweep of real runs, killed in the middle: nothing stays behind, and the same command completes it."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from hyperrl.sweep.folder import SweepFolder
from hyperrl.sweep.plan import read_plan
from hyperrl.train import train
from tests.faults.small_runs import digests_of
from tests.sweep.small_sweeps import TWELVE, children, environment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

COMMAND = (sys.executable, "-c", "import sys; from hyperrl.cli import main; sys.exit(main())", "sweep")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "twelve.toml"
    path.write_text(TWELVE)
    return path


def start(file, out, *more):
    log = (out.parent / "sweep.txt").open("a")
    words = [*COMMAND, str(file), "--out", str(out), *more]
    return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment())


def rows(out):
    with (out / "runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def middle_is_reached(out):
    """Whether some runs are finished and others have checkpoints."""
    states = [json.loads(path.read_text())["state"] for path in out.glob("*/status.json")]
    under_way = [path for path in out.glob("*/ckpt/step-*") if not (path.parents[1] / "run.log").exists()]
    return states.count("finished") >= 3 and len(under_way) >= 3


def assert_complete(file, out):
    """All runs are finished, and every one is bit for bit what it is without a sweep and without a stop."""
    assert [row["status"] for row in rows(out)] == ["finished"] * 12
    assert [row["steps"] for row in rows(out)] == ["300"] * 12
    plan = read_plan(file)
    straight = SweepFolder(out.parent / "straight")
    resumed = []
    for run in plan.runs:
        train(straight.config(run))
        assert digests_of(out / run.name, 300) == digests_of(straight.run(run), 300), run.name
        manifest = json.loads((out / run.name / "manifest.json").read_text())
        resumed += [run.name] if manifest.get("resumed") else []
    print(f"continued after the stop: {resumed}")
    return resumed


def test_twelve_runs_killed_in_the_middle_are_completed_by_the_same_command(file, tmp_path):
    out = tmp_path / "sweep"
    sweep = start(file, out, "--workers", "2")
    wait_for(lambda: middle_is_reached(out), 300)
    assert len(children(out)) >= 1
    os.kill(sweep.pid, signal.SIGKILL)
    assert sweep.wait() == -signal.SIGKILL
    wait_for(lambda: not children(out), 10)
    assert {row["status"] for row in rows(out)} > {"finished", "running"}

    again = start(file, out, "--workers", "2")
    assert again.wait(600) == 0
    print((tmp_path / "sweep.txt").read_text())
    assert assert_complete(file, out)
    assert not children(out)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_every_run_and_the_folder_continues_by_itself(tmp_path, number, status):
    file, out = tmp_path / "two.toml", tmp_path / "sweep"
    text = TWELVE.replace('"td3", "sac"', '"td3"').replace("count = 3", "count = 2")
    file.write_text(text.replace(', "InvertedPendulum-v5"', "").replace("steps = 300", "steps = 3000"))
    sweep = start(file, out, "--workers", "2")
    wait_for(lambda: len(list(out.glob("*/ckpt/step-*"))) >= 6, 300)
    os.kill(sweep.pid, number)
    assert sweep.wait(60) == status
    assert not children(out)
    assert [row["status"] for row in rows(out)] == ["stopped", "stopped"]
    steps = [int(row["steps"]) for row in rows(out)]
    assert all(0 < count < 3000 for count in steps)
    assert start(out, out).wait(300) == 0
    assert [row["status"] for row in rows(out)] == ["finished"] * 2
    for path, count in zip(sorted(out.glob("*/manifest.json")), steps, strict=True):
        assert [one["steps"] for one in json.loads(path.read_text())["resumed"]] == [count]
