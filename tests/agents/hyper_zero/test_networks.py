"""HyperZero's networks: published sizes and constants, and the baselines beside them."""

from dataclasses import replace
from math import sqrt

import pytest
import torch

from hyperrl.errors import ConfigError
from hyperrl_agents.hyper_zero.networks import ContextNetworks, Shape, count_parameters, matched

CHEETAH, WALKER, FINGER = Shape(17, 6, 1), Shape(24, 6, 1), Shape(9, 2, 1)


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_embedding_has_the_published_number_of_parameters():
    assert size(ContextNetworks(CHEETAH).policy.trunk) == 387_328


@pytest.mark.parametrize(
    ("shape", "published"),
    [
        (CHEETAH, 3_612_935),
        (replace(CHEETAH, critic=False), 1_967_878),
        (WALKER, 4_534_023),
        (FINGER, 2_032_899),
    ],
)
def test_hypernetworks_have_the_published_numbers_of_parameters(shape, published):
    assert size(ContextNetworks(shape)) == published == count_parameters(shape)


def test_sizes_are_told_apart_by_network():
    networks = ContextNetworks(CHEETAH)
    told = networks.sizes
    assert {name: one["generated"] for name, one in told.items()} == {"actor": 6_150, "critic": 6_401}
    assert told["actor"]["trainable"] == 1_967_878
    assert sum(one["trainable"] for one in told.values()) == 3_612_935
    concat = ContextNetworks(replace(CHEETAH, kind="concat", critic=False)).sizes
    assert concat == {"actor": {"kind": "concat", "hidden": [256], "trainable": 459_014, "generated": 0}}


def test_what_is_generated_has_the_published_size():
    assert CHEETAH.policy_spec.numel == 6_150
    assert CHEETAH.value_spec.numel == 6_401


def test_weights_start_within_the_published_bounds():
    torch.manual_seed(0)
    networks = ContextNetworks(CHEETAH)
    for layer in networks.policy.trunk.modules():
        if isinstance(layer, torch.nn.Linear):
            bound = 0.5 / sqrt(layer.in_features)
            assert 0.9 * bound < layer.weight.abs().max() <= bound
    for head in (networks.policy.head, networks.values):
        for bank, bound in zip(head.banks, (0.05, 0.008), strict=True):
            assert 0.99 * bound < bank.abs().max() <= bound
            assert bank.square().mean().sqrt().item() == pytest.approx(bound / sqrt(3), rel=0.02)
        # The heads' biases are the independent weights here.
        assert bool((head.theta0() == 0).all())


@pytest.mark.parametrize("critic", [False, True])
def test_baselines_have_the_same_embedding_and_far_fewer_parameters(critic):
    shape = replace(CHEETAH, kind="concat", critic=critic)
    networks = ContextNetworks(shape)
    assert size(networks.policy.trunk) == 387_328
    policy = (17 + 256) * 256 + 256 + 256 * 6 + 6
    value = (23 + 256) * 256 + 256 + 256 + 1
    assert size(networks) == 387_328 + policy + critic * value == count_parameters(shape)


@pytest.mark.parametrize("hidden", [(256,), (64, 64)])
@pytest.mark.parametrize("kind", ["mlp", "concat"])
def test_parameters_are_counted_without_building(kind, hidden):
    shape = Shape(5, 2, 3, kind=kind, hidden=hidden, embedding=(8, 12), blocks=1)
    assert count_parameters(shape) == size(ContextNetworks(shape))


@pytest.mark.parametrize("critic", [False, True])
def test_matched_networks_have_as_many_parameters_as_hyperzero(critic):
    wanted = count_parameters(replace(CHEETAH, critic=critic))
    shape = matched(replace(CHEETAH, kind="concat", critic=critic), wanted)
    found = count_parameters(shape)
    # No other width comes nearer.
    step = count_parameters(replace(shape, hidden=(shape.hidden[0] + 1,))) - found
    assert abs(found - wanted) <= step / 2
    assert found > 0.999 * wanted


def test_too_few_parameters_are_refused():
    with pytest.raises(ConfigError, match="only 1,000 parameters"):
        matched(replace(CHEETAH, kind="concat"), 1000)


def test_concatenation_is_the_plain_network_of_state_and_features():
    torch.manual_seed(0)
    networks = ContextNetworks(Shape(4, 2, 1, kind="concat", embedding=(8,), hidden=(16,), critic=False))
    contexts, states = torch.randn(3, 1), torch.randn(3, 5, 4)
    head = networks.policy.head
    features = networks.policy.features(contexts)
    weight = torch.cat([head.base_weights[0], head.condition_weight])
    both = torch.cat([states, features.unsqueeze(1).expand(-1, 5, -1)], dim=-1)
    first, last = head.base_vectors[:16], head.base_vectors[16:]
    expected = torch.tanh(torch.relu(both @ weight + first) @ head.base_weights[1] + last)
    torch.testing.assert_close(networks(contexts, states), expected)
