"""Numbers of parameters: the published ones, and closed forms."""

import pytest

from hyperrl.nets import EmbeddingTable, HyperNet, TargetSpec

# The taxonomy's example: target 17-64-64-6, condition 64, trunk 64-128-128.
TARGET = TargetSpec.mlp(17, (64, 64), 6)
P, UNITS, D, K = 5702, 134, 64, 128
TRUNK = 64 * 128 + 128 + 128 * 128 + 128


@pytest.mark.parametrize(
    ("observation", "action", "published"),
    [(17, 6, 8_537_346), (111, 8, 9_086_210), (348, 17, 11_508_482), (11, 3, 7_748_610), (27, 8, 9_064_706)],
)
def test_one_published_value_function(observation, action, published):
    spec = TargetSpec.mlp(action, (256,), 1, gain=True)
    hyper = HyperNet(spec, observation, "mlp", trunk="residual", hidden=(256, 512, 1024), init="hyperl")
    # The published heads have biases that start at zero: here they are the independent weights.
    assert hyper.n_params() == published
    assert hyper.n_params() == 256 * observation + 6_169_344 + 1025 * (256 * action + 3 * 256 + 2)


def test_linear():
    assert HyperNet(TARGET, D, "linear").n_params() == P * (D + 1) == 370_630


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("mlp", {}, TRUNK + P * (K + 1)),
        ("mlp", {"init": "hyperfan_in"}, 760_390),
        ("modular", {"modules": 8}, TRUNK + 9 * P + (K + 1) * 3 * 8),
        ("modular", {"modules": 8, "init": "hyperfan_in"}, 79_246),
        # Factors with biases, K numbers per generated bias, and the independent network.
        ("lowrank", {"rank": 4}, TRUNK + (K + 1) * 4 * (17 + 64 + 64 + 64 + 64 + 6) + K * UNITS + P),
        # One scale and one shift per unit, and the independent network.
        ("film", {}, TRUNK + 2 * K * UNITS + P),
        # The first layer's columns for the features, and the independent network.
        ("concat", {}, TRUNK + K * 64 + P),
    ],
)
def test_kinds_behind_a_trunk(kind, options, expected):
    assert TRUNK == 24_832
    hyper = HyperNet(TARGET, D, kind, hidden=(128,), features=128, **options)
    assert hyper.n_params() == expected
    assert hyper.n_generated() == P


def test_the_default_concat_is_the_plain_network_of_both_inputs():
    plain = (17 + D) * 64 + 64 + 64 * 64 + 64 + 64 * 6 + 6
    assert HyperNet(TARGET, D, "concat").n_params() == plain


def test_an_embedding_table_adds_its_entries():
    hyper = HyperNet(TARGET, 1, "linear", encoder=EmbeddingTable(10, 8))
    assert hyper.n_params() == 10 * 8 + P * 9
