import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperrl.config import RunConfig, parse_value, read_toml
from hyperrl.errors import ConfigError, UnknownNameError

NUMBERS = ("steps", "seed", "n_envs", "threads", "eval_episodes", "eval_every")
NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(
    agent_kwargs=st.dictionaries(NAMES, VALUES, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 10**12),
    out=st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
)
def test_a_configuration_survives_toml(agent_kwargs, seed, steps, out):
    config = RunConfig("td3", "Ant-v5", seed=seed, steps=steps, out=out, agent_kwargs=agent_kwargs)
    assert RunConfig.from_toml(config.to_toml()) == config


def test_a_configuration_is_frozen_and_keeps_copies():
    widths = [64]
    config = RunConfig("td3", "Ant-v5", agent_kwargs={"policy_kwargs": {"net_arch": widths}})
    widths.append(32)
    assert config.agent_kwargs["policy_kwargs"]["net_arch"] == [64]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.steps = 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0.5, 1e30, "many", None, True, [1]])
@pytest.mark.parametrize("name", NUMBERS)
def test_wrong_numbers_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be a whole number"):
        RunConfig("td3", "Ant-v5", **{name: value})


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - {"seed", "eval_every"}))
def test_zero_is_refused_where_nothing_would_happen(name):
    with pytest.raises(ConfigError, match=f"{name} must be"):
        RunConfig("td3", "Ant-v5", **{name: 0})


def test_the_largest_seed_is_that_of_32_bits():
    assert RunConfig("td3", "Ant-v5", seed=2**32 - 1).seed == 2**32 - 1
    with pytest.raises(ConfigError, match="seed must be a whole number from 0 to 4294967295, got 4294967296"):
        RunConfig("td3", "Ant-v5", seed=2**32)


@pytest.mark.parametrize("name", ["agent", "env", "preset", "policy", "device"])
@pytest.mark.parametrize("value", ["", 3, None])
def test_wrong_names_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be a name"):
        RunConfig(**{"agent": "td3", "env": "Ant-v5", name: value})


def test_an_unknown_device_is_refused():
    with pytest.raises(UnknownNameError, match=r"unknown device 'cud', did you mean 'cuda'\?"):
        RunConfig("td3", "Ant-v5", device="cud")


@pytest.mark.parametrize("value", ["", 3, "a\0b", "a\udcffb"])
def test_a_wrong_folder_is_refused(value):
    with pytest.raises(ConfigError, match=r"out must be (the|a) path"):
        RunConfig("td3", "Ant-v5", out=value)


@pytest.mark.parametrize("value", [None, object(), {1: 2}, b"x"])
def test_what_toml_cannot_hold_is_refused(value):
    with pytest.raises(ConfigError, match=r"agent_kwargs\.thing"):
        RunConfig("td3", "Ant-v5", agent_kwargs={"thing": value})
    with pytest.raises(ConfigError, match="env_kwargs must be a table"):
        RunConfig("td3", "Ant-v5", env_kwargs=3)


def test_unknown_and_missing_keys_are_refused():
    with pytest.raises(UnknownNameError, match="unknown setting 'step', did you mean 'steps'"):
        RunConfig.from_toml('agent = "td3"\nenv = "Ant-v5"\nstep = 3')
    with pytest.raises(ConfigError, match="the env is missing"):
        RunConfig.from_toml('agent = "td3"')
    with pytest.raises(ConfigError, match=r"run.toml is not valid TOML: .*line 1"):
        RunConfig.from_toml("agent = 3 4")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_toml(tmp_path / "bytes.toml")
    (tmp_path / "deep.toml").write_text("x = " + "[" * 5000)
    with pytest.raises(ConfigError, match="is not valid TOML"):
        read_toml(tmp_path / "deep.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1", -1),
        ("1e-3", 1e-3),
        ("true", True),
        ("[64, 64]", [64, 64]),
        ("{kind = 'normal'}", {"kind": "normal"}),
        ('"a b"', "a b"),
        ("paper", "paper"),
        ("auto_0.1", "auto_0.1"),
        ("HalfCheetah-v5", "HalfCheetah-v5"),
    ],
)
def test_values_of_the_command_line(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["", "[1", "a b", "1\nsteps = 5", "__import__('os')", "3 = 4", "[" * 5000])
def test_values_of_the_command_line_that_are_none(text):
    with pytest.raises(ConfigError, match="neither a TOML value nor a single word"):
        parse_value(text)


def test_importing_the_package_loads_neither_torch_nor_mujoco():
    code = (
        "import sys, hyperrl, hyperrl.cli, hyperrl.registry; hyperrl.registry.agents.names(); dir(hyperrl);"
        "heavy = ('torch', 'mujoco', 'gymnasium', 'numpy', 'stable_baselines3');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_verbs_of_the_package_stay_functions_after_their_modules_are_imported():
    code = (
        "import hyperrl.train, hyperrl.evaluate, hyperrl; from hyperrl import train, evaluate;"
        "from hyperrl.train import check; print(callable(train), callable(evaluate), hyperrl.train is train)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True True True"


def test_every_public_name_of_the_package_loads():
    import hyperrl

    for name in hyperrl.__all__:
        assert getattr(hyperrl, name) is not None
    assert set(hyperrl.__all__) <= set(dir(hyperrl))
    with pytest.raises(AttributeError, match="no attribute 'HyperDQN'"):
        _ = hyperrl.HyperDQN
