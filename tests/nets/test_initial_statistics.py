"""Networks as they start, against tables that were measured on other implementations.

Tolerances cover what the seeds used here vary by; the tables themselves have two digits.
"""

import pytest
import torch
from torch import nn

from hyperrl.nets import HyperNet, InitConfig, TargetMLP, TargetSpec


def value_function_statistics(trunk_init_scale):
    """One published value function for observation 17 and action 6: N(0, 1) states, actions in [-1, 1]."""
    spec = TargetSpec.mlp(6, (256,), 1, gain=True)
    hyper = HyperNet(
        spec,
        17,
        "mlp",
        trunk="residual",
        hidden=(256, 512, 1024),
        init="hyperl",
        trunk_init_scale=trunk_init_scale,
    )
    state = torch.randn(128, 17)
    action = (2 * torch.rand(128, 6) - 1).requires_grad_()
    with torch.no_grad():
        features = hyper.features(state)
        generated = hyper.generate(state)
        named = generated.as_dict()
    value = TargetMLP(spec)(generated, action)
    (slope,) = torch.autograd.grad(value.sum(), action)
    return {
        "z": features.std(),
        "W1": named["layers.0.weight"].std(),
        "W2": named["layers.1.weight"].std(),
        "b1": named["layers.0.bias"].std(),
        "g1 - 1": (named["layers.0.gain"] - 1).std(),
        "Q": value.std().detach(),
        "|dQ/da|": slope.norm(dim=-1).mean(),
    }


@pytest.mark.parametrize(
    ("trunk_init_scale", "table"),
    [
        (
            0.5,
            {
                "z": 0.048,
                "W1": 0.045,
                "W2": 0.0071,
                "b1": 0.046,
                "g1 - 1": 0.044,
                "Q": 0.006,
                "|dQ/da|": 0.008,
            },
        ),
        (2**-0.5, {"z": 0.086, "W1": 0.079, "Q": 0.021, "|dQ/da|": 0.026}),
    ],
)
def test_the_published_value_functions_start_as_measured(trunk_init_scale, table):
    samples = []
    for seed in range(5):
        torch.manual_seed(seed)
        samples.append(value_function_statistics(trunk_init_scale))
    for name, expected in table.items():
        mean = torch.stack([sample[name] for sample in samples]).mean().item()
        assert mean == pytest.approx(expected, rel=0.05 if name in ("z", "W1", "W2") else 0.15), name


def pre_activation_stds(config, factor):
    """Standard deviations of the three layers of 17-64-64-6, for conditions of 64 numbers times a factor."""
    spec = TargetSpec.mlp(17, (64, 64), 6, init="kaiming")
    hyper = HyperNet(spec, 64, "mlp", hidden=(128,), features=128)
    # The table's trunk: weights that keep the variance, no biases, so that features grow with the condition.
    for layer in hyper.trunk.layers:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    hyper.head.initialise(config, hyper.measure_second_moment(torch.randn(4096, 64)))
    with torch.no_grad():
        weights = hyper.generate(factor * torch.randn(64, 64)).as_dict()
        h, stds = torch.randn(64, 32, 17), []
        for index in range(3):
            weight, bias = weights[f"layers.{index}.weight"], weights[f"layers.{index}.bias"]
            h = torch.einsum("boi,bni->bno", weight, h) + bias.unsqueeze(1)
            stds.append(h.std())
            h = h.relu()
    return torch.stack(stds)


HYPERFAN, HYPERFAN_NO_BIAS, BIAS_HYPER = (
    InitConfig("hyperfan_in"),
    InitConfig("hyperfan_in", generated_bias_shares_variance=False),
    InitConfig("bias_hyper"),
)


@pytest.mark.parametrize(
    ("config", "factor", "table", "rel"),
    [
        (HYPERFAN, 0.1, (0.14, 0.10, 0.09), 0.15),
        (HYPERFAN, 1.0, (1.40, 1.44, 1.41), 0.15),
        (HYPERFAN, 10.0, (14, 104, 857), 0.15),
        (HYPERFAN_NO_BIAS, 0.1, (0.14, 0.0152, 0.0017), 0.1),
        (HYPERFAN_NO_BIAS, 1.0, (1.46, 1.59, 1.72), 0.1),
        (HYPERFAN_NO_BIAS, 10.0, (14, 152, 1660), 0.1),
        (BIAS_HYPER, 0.1, (1.44, 1.46, 1.26), 0.2),
        (BIAS_HYPER, 1.0, (1.43, 1.47, 1.40), 0.1),
        (BIAS_HYPER, 10.0, (1.42, 1.40, 1.30), 0.15),
    ],
)
def test_pre_activations_have_the_measured_size(config, factor, table, rel):
    stds = []
    for seed in range(12):
        torch.manual_seed(seed)
        stds.append(pre_activation_stds(config, factor))
    assert torch.stack(stds).mean(0).tolist() == pytest.approx(list(table), rel=rel)
