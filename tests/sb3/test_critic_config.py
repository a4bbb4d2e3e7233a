"""What `policy_kwargs=dict(critic=...)` may be."""

from __future__ import annotations

import math

import pytest

from hyperrl.errors import ConfigError, HyperRLError, UnknownNameError
from hyperrl.nets import InitConfig
from hyperrl.sb3 import COMPACT, CRITICS, FAST, PAPER, SAC_CRITICS, HyperCriticConfig, critic_config


def test_names_stand_for_the_presets():
    assert [critic_config(name) for name in ("fast", "compact", "paper")] == [FAST, COMPACT, PAPER]


def test_a_config_stands_for_itself():
    config = HyperCriticConfig(hidden=(7,))
    assert critic_config(config) is config


def test_the_paper_has_the_published_constants():
    assert PAPER.trunk_hidden == (256, 512, 1024)
    assert PAPER.hidden == (256,)
    assert PAPER.gain
    assert PAPER.learning_rate == 5e-5
    assert PAPER.init.method == "hyperl"
    assert PAPER.trunk_init_scale == 0.5
    assert COMPACT.trunk_hidden == (64, 128, 256)


def test_sac_starts_the_primary_network_larger_and_differs_in_nothing_else():
    for name in ("compact", "paper"):
        assert SAC_CRITICS[name].trunk_init_scale == pytest.approx(1 / math.sqrt(2))
        assert critic_config({"preset": name, "trunk_init_scale": 0.5}, SAC_CRITICS) == CRITICS[name]
    assert SAC_CRITICS["fast"] == FAST


def test_a_mapping_changes_a_preset():
    config = critic_config(
        {"preset": "paper", "hidden": [32, 16], "init": {"method": "bias_hyper", "scale": 0.5}}
    )
    assert config.hidden == (32, 16)
    assert config.init == InitConfig("bias_hyper", 0.5)
    assert config.trunk_hidden == PAPER.trunk_hidden
    assert critic_config({}) == FAST


def test_lists_and_names_become_what_they_stand_for():
    config = HyperCriticConfig(trunk_hidden=[4], encoder=["rms", "running_norm"], init="mip")
    assert config.trunk_hidden == (4,)
    assert config.encoder == ("rms", "running_norm")
    assert config.init == InitConfig("mip")


@pytest.mark.parametrize(
    ("critic", "sentence"),
    [
        ("papr", "unknown critic 'papr', did you mean 'paper'?"),
        ({"preset": "fats"}, "did you mean 'fast'?"),
        ({"hiden": [4]}, "unknown critic setting 'hiden', did you mean 'hidden'?"),
        ({"condition": "stat"}, "did you mean 'state'?"),
        ({"trunk": "residul"}, "did you mean 'residual'?"),
        ({"contraction": "outter"}, "did you mean 'outer'?"),
        ({"hidden_norm": "layr"}, "did you mean 'layer'?"),
        ({"init": "bias_hypr"}, "did you mean 'bias_hyper'?"),
        ({"init": {"scal": 1}}, "did you mean 'scale'?"),
    ],
)
def test_unknown_names_come_with_the_nearest(critic, sentence):
    with pytest.raises(UnknownNameError) as caught:
        critic_config(critic)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("critic", "named"),
    [
        (3, "critic must be one of"),
        ({"hidden": 256}, "critic.hidden"),
        ({"hidden": [0]}, "critic.hidden"),
        ({"trunk_hidden": [2.5]}, "critic.trunk_hidden"),
        ({"trunk_hidden": [True]}, "critic.trunk_hidden"),
        ({"features": 0}, "critic.features"),
        ({"features": "many"}, "critic.features"),
        ({"gain": 1}, "critic.gain"),
        ({"layer_norm": "yes"}, "critic.layer_norm"),
        ({"kind_options": 3}, "critic.kind_options"),
        ({"kind_options": {"hidden": 3}}, "critic.kind_options cannot hold 'hidden'"),
        ({"encoder": 3}, "critic.encoder"),
        ({"encoder": []}, "critic.encoder"),
        ({"encoder": ["rms", 3]}, "critic.encoder"),
        ({"activation": 3}, "critic.activation"),
        ({"feature_norm": ["l2"]}, "critic.feature_norm"),
        ({"target_init": 3}, "critic.target_init"),
        ({"init": 3}, "critic.init"),
        ({"init": {"method": 3}}, "critic.init.method"),
        ({"init": {"scale": "big"}}, "critic.init.scale"),
        ({"init": {"scale": -1}}, "scale"),
        ({"trunk_init_scale": 0}, "critic.trunk_init_scale"),
        ({"learning_rate": 0}, "critic.learning_rate"),
        ({"learning_rate": float("nan")}, "critic.learning_rate"),
        ({"learning_rate": "small"}, "critic.learning_rate"),
        ({"learning_rate": True}, "critic.learning_rate"),
        ({"preset": "paper", "features": 8}, "residual trunk does not use features"),
        ({"trunk_init_scale": 0.1}, "mlp trunk does not use trunk_init_scale"),
        ({"kind": "linear", "features": 8, "trunk_hidden": [4]}, "leave out features, trunk_hidden"),
    ],
)
def test_impossible_values_are_named(critic, named):
    with pytest.raises(ConfigError) as caught:
        critic_config(critic)
    assert named in str(caught.value)
    assert isinstance(caught.value, HyperRLError)
    assert isinstance(caught.value, ValueError)
