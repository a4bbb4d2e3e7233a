import subprocess
import sys
from pathlib import Path

import pytest

from hyperrl import cli
from hyperrl.cli import VERBS, main


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_verb(capsys, argv):
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


def test_the_version(capsys):
    import hyperrl

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hyperrl {hyperrl.__version__}\n"


def test_an_unknown_verb_is_refused_with_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.startswith("hyperrl: unknown verb 'trian', did you mean 'train'?")


def test_every_verb_has_a_main():
    import importlib

    for module, _ in VERBS.values():
        assert callable(importlib.import_module(module).main)


@pytest.mark.parametrize("verb", ["train", "resume", "evaluate", "import", "list", "doctor"])
def test_every_verb_explains_itself(capsys, verb):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert not stop.value.code
    assert capsys.readouterr().out.startswith(f"usage: hyperrl {verb}")


BAD = [
    (["train"], "needs the name of an agent: compiled-ppo, "),
    (["train", "hyper-td4"], "unknown agent 'hyper-td4', did you mean 'hyper-td3'?"),
    (["train", "td3"], "no environment was given"),
    (["train", "td3", "sac"], "unrecognized options: sac"),
    (["train", "td3", "--envv", "x"], "unrecognized options: --envv, x, did you mean --env?"),
    (["train", "td3", "--env"], "missing value for argument"),
    (["train", "td3", "--env", "HalfCheeta-v5"], "did you mean 'HalfCheetah-v5'?"),
    (["train", "td3", "--env", "CartPole-v1"], "needs a Box action space"),
    (["train", "td3", "--env", "Ant-v5", "--steps", "many"], "steps must be a whole number"),
    (["train", "td3", "--env", "Ant-v5", "--steps", "-5"], "steps must be a whole number"),
    (["train", "td3", "--env", "Ant-v5", "--steps", "inf"], "steps must be a whole number"),
    (["train", "td3", "--env", "Ant-v5", "--seed", "4294967296"], "seed must be a whole number"),
    (["train", "td3", "--env", "Ant-v5", "--preset", "demoo"], "unknown preset of td3 'demoo'"),
    (["train", "td3", "--env", "Ant-v5", "--device", "gpu"], "unknown device 'gpu', did you mean 'cpu'?"),
    (["train", "td3", "--env", "Ant-v5", "--config", "none.toml"], "none.toml cannot be read"),
    (["train", "td3", "--env", "Ant-v5", "--set", "gama=0.9"], "did you mean 'gamma'?"),
    (["train", "td3", "--env", "Ant-v5", "--set", "gamma=2"], "gamma must be a number above 0 and at most 1"),
    (["train", "td3", "--env", "Ant-v5", "--set", "gamma=nan"], "gamma must be a number above 0"),
    (["train", "td3", "--env", "Ant-v5", "--set", "gamma"], "--set takes key=value"),
    (["train", "td3", "--env", "Ant-v5", "--set", "gamma=0.9", "tau=0"], "tau must be a number above 0"),
    (["evaluate"], "evaluate needs the folder of a run"),
    (["evaluate", "none"], "there is no folder"),
    (["evaluate", "."], "holds no run"),
    (["evaluate", ".", "--episodes", "0"], "episodes must be a whole number from 1"),
    (["list"], "list needs one of agents, envs, contexts, kinds"),
    (["list", "agent"], "unknown list 'agent', did you mean 'agents'?"),
    (["doctor", "now"], "there is no folder"),
    (["doctor", ".", "now"], "unrecognized options: now"),
    (["resume"], "resume needs the folder of a run"),
    (["resume", "none"], "there is no folder"),
    (["resume", "."], "holds no run"),
    (["resume", ".", "--step", "3"], "did you mean --steps?"),
    (["import"], "import needs a model file"),
    (["import", "model.zip"], "import needs --agent and --env"),
    (
        ["import", "model.zip", "--agent", "td4", "--env", "Ant-v5"],
        "unknown agent 'td4', did you mean 'td3'?",
    ),
    (["import", "none.zip", "--agent", "td3", "--env", "Ant-v5"], "there is no file"),
]


@pytest.mark.parametrize(
    ("argv", "text"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_usage_is_one_sentence_and_status_2(capsys, tmp_path, monkeypatch, runs_root, argv, text):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert text in err
    assert err.startswith("hyperrl: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []
    assert list(Path(runs_root).iterdir()) == []


def test_ctrl_c_ends_with_130(capsys, monkeypatch):
    def stop(arguments):
        error = KeyboardInterrupt()
        error.add_note("the run so far lies in /there")
        raise error

    monkeypatch.setattr(cli, "_run", stop)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "hyperrl: stopped; the run so far lies in /there\n"


def test_the_program_itself_shows_no_traceback(tmp_path):
    program = Path(sys.executable).with_name("hyperrl")
    done = subprocess.run([program, "train", "td4"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    code = "import sys; from hyperrl.cli import main; sys.exit(main(['list', 'envs']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()
