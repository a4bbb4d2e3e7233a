"""Choices of networks: tables are read, and what they do not mean is refused in one sentence."""

from __future__ import annotations

import pytest

from hyperrl import registry
from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets import InitConfig
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.kinds.linear import LinearKind
from hyperrl.sb3.meta.choices import NetworkChoice, check_policy_kwargs, choose, init_config

OWN = {"hyper": ("hidden", "trunk"), "mlp": ("hidden",)}


def chosen(given):
    return choose("actor", given, OWN, "linear", ("trunk",))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mlp", NetworkChoice("mlp")),
        ("hyper", NetworkChoice("hyper", {}, "linear", {})),
        ({"kind": "mlp", "hidden": [3]}, NetworkChoice("mlp", {"hidden": [3]})),
        (
            {"kind": "hyper", "modules": 3, "hypernet": "modular", "trunk": "none"},
            NetworkChoice("hyper", {"trunk": "none"}, "modular", {"modules": 3}),
        ),
    ],
)
def test_options_go_to_the_network_or_to_its_hypernetwork(given, expected):
    table = dict(given) if isinstance(given, dict) else given
    assert chosen(given) == expected
    assert given == table


@pytest.mark.parametrize("name", registry.kinds.names())
def test_exactly_the_kinds_that_generate_weights_can_be_named(name):
    given = {"kind": "hyper", "hypernet": name}
    if resolve_kind(name).generates_weights:
        assert chosen(given).hypernet == name
    else:
        with pytest.raises(ConfigError, match=f"'{name}' generates no weights.* take one of .*linear"):
            chosen(given)


def test_a_registered_kind_that_takes_any_option_is_asked_itself(monkeypatch):
    class Any(LinearKind):
        def __init__(self, spec, feature_dim, **options):
            super().__init__(spec, feature_dim)

    monkeypatch.setitem(registry.kinds._registered, "any", Any)
    found = chosen({"kind": "hyper", "hypernet": "any", "colour": 3, "hidden": [2]})
    assert found == NetworkChoice("hyper", {"hidden": [2]}, "any", {"colour": 3})


@pytest.mark.parametrize("given", [None, 3, ["hyper"], {"hypernet": "modular"}])
def test_what_is_neither_name_nor_table_is_refused(given):
    with pytest.raises(ConfigError, match="actor must be one of hyper, mlp, or a table with kind"):
        chosen(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, InitConfig("hyperl")),
        ("mip", InitConfig("mip")),
        ({"scale": 0.5}, InitConfig("hyperl", 0.5)),
        ({"method": "bias_hyper", "scale": 1}, InitConfig("bias_hyper", 1)),
        (InitConfig("mip"), InitConfig("mip")),
    ],
)
def test_initialisers_are_names_or_tables(given, expected):
    assert init_config(given, "hyperl") == expected


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("hyprl", UnknownNameError, "did you mean 'hyperl'"),
        ({"scal": 1}, UnknownNameError, "setting of init 'scal', did you mean 'scale'"),
        ({"scale": "large"}, ConfigError, "init.scale must be a number"),
        ({"method": ["mip"]}, ConfigError, "init must be the name of an initialiser"),
        (3, ConfigError, "init must be the name of an initialiser"),
    ],
)
def test_other_initialisers_are_refused(given, error, words):
    with pytest.raises(error, match=words):
        init_config(given, "hyperl")


def test_arguments_that_a_policy_lacks_are_refused():
    class Policy:
        def __init__(self, observation_space, action_space, lr_schedule, width=3):
            pass

    class Open:
        def __init__(self, observation_space, action_space, lr_schedule, **kwargs):
            pass

    check_policy_kwargs(Policy, {"width": 4})
    check_policy_kwargs(Open, {"wdth": 4})
    for name in ("wdth", "lr_schedule"):
        with pytest.raises(UnknownNameError, match=rf"policy_kwargs '{name}'.*\(valid: width\)"):
            check_policy_kwargs(Policy, {name: 4})
