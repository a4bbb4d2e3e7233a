import sys

import pytest

from hyperrl.errors import ConfigError, PluginError, UnknownNameError
from hyperrl.presets import merge, read_presets, resolve
from hyperrl.registry import Registry, agents

PRESETS = """
[presets.default]
description = "For the tests."
eval_every = 5000
steps = 400000
[presets.default.agent]
learning_rate = 1e-3
learning_starts = 10000
policy_kwargs = { net_arch = [256, 256], n_critics = 2 }
[presets.default.envs."Hopper-v5"]
steps = 700000
[presets.default.envs."Hopper-v5".agent]
learning_rate = 3e-4
[presets.demo]
env = "HalfCheetah-v5"
steps = 30000
"""


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """An agent called "toy" in a package of its own, with presets."""
    folder = tmp_path / "toy_package_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("from stable_baselines3 import TD3\n\n\nclass Toy(TD3):\n    pass\n")
    (folder / "presets.toml").write_text(PRESETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(agents, "_registered", {})
    module = __import__("toy_package_of_a_test")
    agents.register("toy", module.Toy)
    yield "toy"
    del sys.modules["toy_package_of_a_test"]


def test_the_layers_win_in_order(agent, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("n_envs = 2\nthreads = 2\n[agent]\nbatch_size = 64\ngamma = 0.9\n")
    config = resolve(
        agent,
        {"env": "Hopper-v5", "threads": 4},
        file=file,
        settings=["gamma=0.95", "agent.tau=0.01", "threads=3", "policy_kwargs.net_arch=[64]"],
    ).config
    assert config.eval_every == 5000
    assert config.steps == 700_000
    assert config.n_envs == 2
    assert config.threads == 4
    assert config.agent_kwargs == {
        "learning_rate": 3e-4,
        "learning_starts": 10_000,
        "policy_kwargs": {"net_arch": [64], "n_critics": 2},
        "batch_size": 64,
        "gamma": 0.95,
        "tau": 0.01,
    }


def test_another_environment_takes_the_plain_preset(agent):
    config = resolve(agent, {"env": "Ant-v5"}).config
    assert config.steps == 400_000
    assert config.agent_kwargs["learning_rate"] == 1e-3
    assert config.preset == "default"


def test_a_preset_can_choose_the_environment_and_a_flag_another(agent):
    assert resolve(agent, {"preset": "demo"}).config.env == "HalfCheetah-v5"
    assert resolve(agent, {"preset": "demo", "env": "Ant-v5"}).config.env == "Ant-v5"
    assert resolve(agent, {"preset": "demo"}).config.preset == "demo"


def test_the_toml_of_a_run_is_a_configuration_file(agent, tmp_path):
    first = resolve(agent, {"preset": "demo"}, settings=["gamma=0.9"]).config
    (tmp_path / "run.toml").write_text(first.to_toml())
    assert resolve(agent, {}, file=tmp_path / "run.toml").config == first


def test_a_preset_that_would_only_warm_up_is_shortened_and_said(agent):
    resolved = resolve(agent, {"env": "Ant-v5", "steps": 2000})
    assert resolved.config.agent_kwargs["learning_starts"] == 200
    assert resolved.notes == ("learning_starts is 200, not the preset's 10000: the run has only 2000 steps",)
    own = resolve(agent, {"env": "Ant-v5", "steps": 2000}, settings=["learning_starts=5000"])
    assert own.config.agent_kwargs["learning_starts"] == 5000
    assert own.notes == ()


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (["bach_size=3"], UnknownNameError, "unknown setting of toy 'bach_size', did you mean 'batch_size'"),
        (["batch_size"], ConfigError, "--set takes key=value"),
        (["=3"], ConfigError, "--set takes key=value"),
        (["policy_kwargs.=3"], ConfigError, "--set takes key=value"),
        (["agent={}"], ConfigError, "--set takes one argument of the agent"),
        (["batch_size=[1"], ConfigError, "neither a TOML value nor a single word"),
        (["steps=-3"], ConfigError, "steps must be a whole number"),
    ],
)
def test_wrong_settings_are_refused(agent, settings, error, text):
    with pytest.raises(error, match=text.replace("[", r"\[")):
        resolve(agent, {"env": "Ant-v5"}, settings=settings)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("stepz = 3", UnknownNameError, "did you mean 'steps'"),
        ("batch_size = 3", ConfigError, r"put it into the table \[agent\]"),
        ('agent = "td3"', ConfigError, "is for the agent 'td3', but 'toy' was asked for"),
        ("[envs.Ant-v5]\nsteps = 3", ConfigError, "only a preset can"),
        ("steps = ", ConfigError, "is not valid TOML"),
        ("preset = 3", ConfigError, "preset must be a name"),
        ('preset = "deno"', UnknownNameError, "unknown preset of toy 'deno', did you mean 'demo'"),
    ],
)
def test_wrong_files_are_refused(agent, tmp_path, text, error, message):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(error, match=message):
        resolve(agent, {"env": "Ant-v5"}, file=file)


def test_a_missing_environment_is_refused(agent):
    with pytest.raises(ConfigError, match="no environment was given"):
        resolve(agent, {})


def test_presets_without_tables_are_refused(agent, tmp_path):
    (tmp_path / "toy_package_of_a_test" / "presets.toml").write_text("[presets]\ndefault = 3\n")
    with pytest.raises(ConfigError, match="must hold tables called"):
        read_presets(agent)


def test_an_agent_without_presets_has_the_default(agent, tmp_path):
    (tmp_path / "toy_package_of_a_test" / "presets.toml").unlink()
    config = resolve(agent, {"env": "Ant-v5"}).config
    assert config.agent_kwargs == {}
    with pytest.raises(UnknownNameError, match="unknown preset of toy 'demo'"):
        resolve(agent, {"env": "Ant-v5", "preset": "demo"})


def test_an_agent_whose_package_is_gone_says_so(monkeypatch):
    from importlib.metadata import EntryPoint

    broken = Registry("hyperrl.agents", "agent")
    broken._found = {"gone": EntryPoint("gone", "no_such_package_here.gone:Gone", "hyperrl.agents")}
    monkeypatch.setattr("hyperrl.presets.agents", broken)
    with pytest.raises(PluginError, match="'gone'"):
        read_presets("gone")


@pytest.mark.parametrize("name", ["hyper-sac", "hyper-td3", "sac", "td3"])
def test_every_preset_of_the_project_can_be_built(name):
    from hyperrl.agent_arguments import build_agent_kwargs, check_agent_kwargs

    presets = read_presets(name)
    assert "default" in presets
    for preset, table in presets.items():
        for env in [*table.get("envs", {}), "HalfCheetah-v5"]:
            config = resolve(name, {"preset": preset, "env": env}).config
            check_agent_kwargs(name, agents.get(name), config.policy, config.agent_kwargs, config.steps)
            assert set(build_agent_kwargs(config.agent_kwargs, 6)) == set(config.agent_kwargs)


def test_merge_leaves_its_arguments_alone():
    base, over = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2], "e": {"f": 1}}
    assert merge(base, over) == {"a": {"b": 3, "c": 2}, "d": [2], "e": {"f": 1}}
    assert base == {"a": {"b": 1, "c": 2}, "d": [1]}
    assert over == {"a": {"b": 3}, "d": [2], "e": {"f": 1}}


def test_a_table_of_another_kind_takes_the_place_of_the_weaker_one():
    base = {"actor": {"kind": "hyper", "trunk_hidden": [8], "hidden": [4]}}
    assert merge(base, {"actor": {"kind": "mlp"}}) == {"actor": {"kind": "mlp"}}
    assert merge(base, {"actor": {"kind": "hyper", "hidden": [2]}})["actor"]["trunk_hidden"] == [8]
    assert merge(base, {"actor": {"hidden": [2]}})["actor"]["kind"] == "hyper"
