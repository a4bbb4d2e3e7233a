import pytest

from hyperrl.cli import main
from hyperrl.cli.listing import table
from hyperrl.errors import PluginError
from hyperrl.registry import agents, generators, kinds
from hyperrl_envs.catalogue import TASKS
from hyperrl_envs.contextual.ids import CONTEXTUAL
from hyperrl_envs.contextual.suites import suite_of


def first_column(text):
    return [line.split()[0] for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("agents", agents.names()),
        ("kinds", kinds.names()),
        ("generators", generators.names()),
        ("envs", [task.env_id for task in TASKS]),
    ],
)
def test_every_name_is_shown(capsys, what, names):
    assert main(["list", what]) == 0
    assert first_column(capsys.readouterr().out) == names


def test_the_presets_of_an_agent_are_shown(capsys):
    main(["list", "agents"])
    assert "default" in capsys.readouterr().out


def test_the_context_parameters_of_every_suite_are_shown(capsys):
    assert main(["list", "contexts"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    for env_id in CONTEXTUAL:
        shown = [words[1] for words in lines if words[0] == env_id]
        assert shown == list(suite_of(env_id).params.names)


def test_the_context_parameters_of_one_environment(capsys):
    assert main(["list", "contexts", "--env", "hyperrl/ContextualHopper-v0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    mass = next(line for line in lines if " mass " in line)
    assert "0.5 to 1.5" in mass
    assert "0.75 to 1.25" in mass
    assert {line.split()[0] for line in lines[1:]} == {"hyperrl/ContextualHopper-v0"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["contexts", "--env", "Hopper-v5"], "unknown contextual task"),
        (["agents", "--env", "Hopper-v5"], "--env belongs to"),
    ],
)
def test_an_environment_without_contexts_is_refused(capsys, arguments, said):
    assert main(["list", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_broken_agent_does_not_hide_the_others(capsys, monkeypatch):
    def broken(name):
        if name == "sac":
            raise PluginError("gone")
        return {}

    monkeypatch.setattr("hyperrl.presets.read_presets", broken)
    assert main(["list", "agents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "cannot be imported" in line).startswith("sac ")
    assert any(line.startswith("td3 ") for line in lines)


def test_columns_are_aligned():
    assert table([("a", "b"), ("long", "x"), ("s", "")]) == "a     b\nlong  x\ns"
