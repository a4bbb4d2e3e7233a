"""Primary networks and feature normalisation."""

from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn import functional

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets.trunk import FeatureNorm, MLPTrunk, ResidualTrunk


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_residual_trunk_equals_a_loop_over_its_matrices(blocks):
    trunk = ResidualTrunk(3, (4, 5), blocks).double()
    parameters = list(trunk.parameters())
    x = torch.randn(6, 3, dtype=torch.float64)
    h, position = x, 0
    for _ in range(2):
        h = functional.linear(h, parameters[position], parameters[position + 1])
        position += 2
        for _ in range(blocks):
            w1, b1, w2, b2 = parameters[position : position + 4]
            position += 4
            h = h + functional.relu(functional.relu(h) @ w1.T + b1) @ w2.T + b2
    assert position == len(parameters)
    assert torch.allclose(trunk(x), h)
    assert bool((trunk(x) < 0).any())


@pytest.mark.parametrize("scale", [0.5, 2**-0.5])
def test_residual_trunk_starts_with_scaled_weights_and_torchs_biases(scale):
    trunk = ResidualTrunk(16, (64, 256), init_scale=scale)
    for module in trunk.modules():
        if isinstance(module, nn.Linear):
            unit = 1 / sqrt(module.in_features)
            assert 0.97 * scale * unit < module.weight.abs().max().item() <= scale * unit
            assert 0.85 * unit < module.bias.abs().max().item() <= unit


@pytest.mark.parametrize("layer_norm", [False, True])
def test_mlp_trunk_equals_a_sequential_network(layer_norm):
    trunk = MLPTrunk(3, (4, 5), 6, "silu", layer_norm).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    h = x
    for index in (0, 1):
        h = trunk.layers[index](h)
        if layer_norm:
            h = functional.layer_norm(h, h.shape[-1:])
        h = functional.silu(h)
    assert torch.allclose(trunk(x), trunk.layers[2](h))
    assert trunk(x).shape == (7, 6)


def test_feature_norms():
    features = 100 * torch.randn(50, 8, dtype=torch.float64)
    same = FeatureNorm("none")(features)
    assert torch.equal(same, features)
    unit = FeatureNorm("l2")(features)
    assert torch.allclose(unit.norm(dim=-1), torch.full((50,), sqrt(8), dtype=torch.float64))
    assert torch.allclose(functional.cosine_similarity(unit, features), torch.ones(50, dtype=torch.float64))
    layer = FeatureNorm("layer")(features)
    assert layer.mean(-1).abs().max() < 1e-9
    assert torch.allclose(layer.std(-1, correction=0), torch.ones(50, dtype=torch.float64), atol=1e-6)
    assert torch.equal(FeatureNorm("tanh")(features), torch.tanh(features))
    assert bool(FeatureNorm("l2")(torch.zeros(2, 8)).isfinite().all())


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: FeatureNorm("l3"), UnknownNameError, "did you mean 'l2'"),
        (lambda: MLPTrunk(3, (4,), 5, "relo"), UnknownNameError, "did you mean 'relu'"),
        (lambda: MLPTrunk(3, (0,), 5, "relu"), ConfigError, r"positive integers, got \[3, 0, 5\]"),
        (lambda: MLPTrunk(3, (4,), 5.5, "relu"), ConfigError, "positive integers"),
        (lambda: ResidualTrunk(3, ()), ConfigError, r"got \[\] with 2 blocks"),
        (lambda: ResidualTrunk(3, (4, -1)), ConfigError, r"got \[4, -1\]"),
        (lambda: ResidualTrunk(3, (4,), -1), ConfigError, "with -1 blocks"),
        (lambda: ResidualTrunk(3, (4,), init_scale=0.0), ConfigError, "positive number, got 0.0"),
        (lambda: ResidualTrunk(3, (4,), init_scale=float("inf")), ConfigError, "positive number, got inf"),
    ],
)
def test_refusals(build, error, message):
    with pytest.raises(error, match=message):
        build()
