"""`hyperrl fly` from the command line: what is said, what appears, and what is refused in one sentence."""

import csv
import shutil

import numpy as np
import pytest

from hyperrl.cli import main as cli
from hyperrl.exporters import Request, export_subject
from tests.exporters.crazyflie.artefacts import POLICIES, artefact, export, subject


def refused(capsys, *arguments):
    assert cli(["fly", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


def test_flights_are_told_and_drawn(tmp_path, capsys):
    plot, table, rows = tmp_path / "flight.png", tmp_path / "flight.csv", tmp_path / "flights.csv"
    arguments = [
        "fly",
        artefact("linear"),
        "--seconds",
        "4",
        "--flights",
        "2",
        "--plot",
        plot,
        "--csv",
        table,
        "--summary",
        rows,
    ]
    assert cli(list(map(str, arguments))) == 0
    printed = capsys.readouterr().out
    assert "76 parameters, 72 multiply-accumulates, compiled C, task hover" in printed
    assert "flights of 4 s flown to their end: 2 of 2" in printed
    assert "distance from the setpoint, from 2.5 s on: mean 0.0" in printed
    difference = float(printed.split("without the controller: ")[1].split(" m")[0])
    assert difference < 2e-6
    assert sorted(tmp_path.iterdir()) == [table, plot, rows]
    assert printed.rstrip().endswith(f"{table}\n{plot}\n{rows}")
    with rows.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["seed"], second["seed"], first["completed"]) == ("0", "1", "1")
    with table.open(newline="") as file:
        errors = [float(row["position_error_m"]) for row in csv.DictReader(file)]
    assert float(first["mean_error_m"]) == pytest.approx(np.mean(errors), rel=1e-4)
    assert float(first["largest_error_m"]) == pytest.approx(max(errors), rel=1e-4)
    assert max(float(first["difference_m"]), float(second["difference_m"])) < 2e-6
    assert len(table.read_text().splitlines()) == 401


def test_a_policy_that_cannot_fly_is_no_success(capsys):
    assert cli(["fly", str(artefact("random")), "--task", "trajectory", "--seconds", "3"]) == 1
    printed = capsys.readouterr().out
    assert "flown to their end: 0 of 1" in printed
    assert "seed 0: ended after " in printed


def test_refusals(tmp_path, capsys, monkeypatch):
    folder = artefact("linear")
    assert "fly needs the folder of an artefact" in refused(capsys)
    assert "holds no exported policy" in refused(capsys, tmp_path)
    assert "unknown task of the quadrotor 'land'" in refused(capsys, folder, "--task", "land")
    assert "seconds must be a number above 0" in refused(capsys, folder, "--seconds", "0")
    assert "flights must be a whole number" in refused(capsys, folder, "--flights", "many")
    assert "seed must be a whole number" in refused(capsys, folder, "--seed", "-1")
    assert "the video must be a .gif or .webp file" in refused(capsys, folder, "--video", tmp_path / "a.mp4")
    assert "the plot must be a .png file" in refused(capsys, folder, "--plot", tmp_path / "a.pdf")
    assert "there is no folder" in refused(capsys, folder, "--csv", tmp_path / "no" / "a.csv")
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    (changed / "hyperrl_controller.c").write_text("/* nothing */\n")
    assert "hyperrl_controller.c was changed since it was exported" in refused(capsys, changed)
    export_subject(subject(POLICIES["linear"]), [Request("c99", tmp_path / "c99")])
    assert "was exported as c99: export the run with --format crazyflie" in refused(capsys, tmp_path / "c99")
    export(POLICIES["linear"], tmp_path / "slow", frame_skip=10)
    assert "acts every 0.02 seconds" in refused(capsys, tmp_path / "slow")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "no-such-compiler" in refused(capsys, folder)


@pytest.mark.parametrize("option", [pytest.param("--plot", marks=pytest.mark.slow), "--csv"])
def test_a_full_disk_is_said(option, tmp_path, capsys, monkeypatch):
    from hyperrl.run.files import FILES

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FILES, "write", full)
    name = tmp_path / ("a.png" if option == "--plot" else "a.csv")
    assert "No space left on device" in refused(capsys, artefact("linear"), "--seconds", "0.1", option, name)
    assert not list(tmp_path.iterdir())
