"""`hyperrl sweep`: what is refused before anything starts, and what is shown."""

import pytest

from hyperrl.cli import main
from hyperrl.run.folder import RunFolder
from hyperrl.run.lock import RunLock
from tests.sweep.small_sweeps import SMALL, TWELVE

TWO = f"""{SMALL}
[grid]
agent = ["td3"]
env = ["Pendulum-v1"]
seed = [0, 1]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TWO)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "sweep"


@pytest.fixture
def refused(capsys):
    """Gives the sentence with which a command is refused."""

    def sentence(*argv):
        assert main(["sweep", *map(str, argv)]) == 2
        text = capsys.readouterr().err.strip()
        assert text.startswith("hyperrl: ")
        assert "\n" not in text
        return text

    return sentence


def test_a_dry_run_lists_the_runs_and_writes_nothing(tmp_path, out, capsys):
    (tmp_path / "study.toml").write_text(TWELVE)
    assert main(["sweep", str(tmp_path / "study.toml"), "--out", str(out), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert lines[1].split() == ["td3_Pendulum-v1_net_arch=8_s0", "waiting", "0", "of", "300"]
    assert lines[-1] == f"12 runs, in {out}"
    assert not out.exists()


def test_without_a_file_there_is_an_example(refused):
    assert "sweep needs a file, for example" in refused()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "workers must be a whole number from 1 to 4096, got 0"),
        (["--workers", "some"], "workers must be a whole number"),
        (["--engine", "rai"], "unknown engine 'rai', did you mean 'ray'?"),
        (["--ray-address", "10.0.0.1:6379"], "--ray-address is for --engine ray alone"),
        (["--wrkers", "1"], "--wrkers"),
    ],
)
def test_wrong_arguments_are_refused(refused, file, out, arguments, sentence):
    assert sentence in refused(file, "--out", out, *arguments)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[grid", "is not valid TOML"),
        (f"{SMALL}[grid]\n", "is empty"),
        (TWO.replace("seed", "sead"), "unknown setting in [grid] of"),
        (TWO.replace("td3", "td4"), "unknown agent 'td4', did you mean 'td3'?"),
        (TWO.replace("[0, 1]", "[0, 0]"), "the runs would be the same"),
        (TWO.replace("batch_size", "bach_size"), "did you mean 'batch_size'?"),
    ],
)
def test_a_wrong_file_is_refused_and_no_folder_appears(refused, tmp_path, runs_root, text, sentence):
    path = tmp_path / "study.toml"
    path.write_text(text)
    assert sentence in refused(path)
    assert list(runs_root.iterdir()) == []


def test_ray_without_ray_is_refused(refused, file, out, monkeypatch):
    monkeypatch.setattr("hyperrl.sweep.reach.importlib.util.find_spec", lambda name: None)
    assert "pip install 'hyperrl[ray]'" in refused(file, "--out", out, "--engine", "ray")
    assert not out.exists()


def test_a_folder_in_use_is_refused(refused, file, out):
    out.mkdir()
    with RunLock(out):
        assert "is in use by process" in refused(file, "--out", out)


def test_a_changed_file_is_refused(refused, file, out):
    run = out / "td3_Pendulum-v1_s0"
    assert main(["sweep", str(file), "--out", str(out), "--dry-run"]) == 0
    from hyperrl.sweep.folder import SweepFolder
    from hyperrl.sweep.plan import read_plan

    folder, plan = SweepFolder(out), read_plan(file)
    folder.make()
    folder.write_plan(plan)
    RunFolder.create(folder.config(plan.runs[0]))
    file.write_text(TWO.replace("steps = 300", "steps = 400"))
    sentence = refused(file, "--out", out)
    assert f"begun with steps = 300, now {file} gives steps = 400: put that back" in sentence
    assert run.is_dir()


@pytest.mark.usefixtures("pretend")
def test_failures_have_a_sentence_each_and_the_status_one(file, out, capsys, monkeypatch):
    monkeypatch.setattr("hyperrl.sweep.process._PROGRAM", ("-c", "print('hyperrl: no luck'); exit(2)"))
    assert main(["sweep", str(file), "--out", str(out), "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-4:] == [
        "[0/2] td3_Pendulum-v1_s1 failed: no luck",
        "0 of 2 runs finished",
        "",
        str(out),
    ]
    assert said.err.splitlines()[-3:] == [
        f"hyperrl: td3_Pendulum-v1_s0 failed: no luck; see {out}/td3_Pendulum-v1_s0.log",
        f"hyperrl: td3_Pendulum-v1_s1 failed: no luck; see {out}/td3_Pendulum-v1_s1.log",
        "hyperrl: the same command with --retry continues what failed",
    ]
    # The folder knows its plan.
    assert main(["sweep", str(out), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"2 runs, in {out}"


def test_the_verb_is_listed(capsys):
    assert main(["--help"]) == 0
    assert "  sweep " in capsys.readouterr().out
