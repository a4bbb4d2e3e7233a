import pytest

from hyperrl.cli import main
from hyperrl.cli.listing import table
from hyperrl.errors import PluginError
from hyperrl.registry import agents, generators, kinds
from hyperrl_envs.catalogue import TASKS


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
