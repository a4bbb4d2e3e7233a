"""Initialisers of heads against their formulas."""

from math import sqrt

import pytest
import torch
from torch import nn

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets import CosSin, HyperNet, InitConfig, TargetMLP, TargetSpec

SPEC = TargetSpec.mlp(40, (60,), 30, gain=True)
SEEDS = 8


def generated(method, kind="mlp", spec=SPEC, seeds=SEEDS, stretch=3.0, **options):
    """Weights ``[seeds, conditions]`` by name, measured ``E[f^2]`` and K, for features far from unit size."""
    flat, moments = [], []
    options = {"hidden": (64,), "features": 50} | options
    for seed in range(seeds):
        torch.manual_seed(seed)
        sample = stretch * torch.randn(2000, 6)
        hyper = HyperNet(spec, 6, kind, init=method, condition_sample=sample, **options)
        with torch.no_grad():
            moments.append(hyper.features(sample).square().mean().item())
            flat.append(hyper.generate(sample[:200]).materialise())
    return spec.unflatten(torch.stack(flat)), sum(moments) / seeds, 50


def rms(value):
    return value.square().mean().sqrt().item()


def test_features_of_these_tests_are_not_of_unit_variance():
    _, moment, _ = generated("bias_hyper", seeds=2)
    assert not 0.5 < moment < 2


@pytest.mark.parametrize("kind", ["mlp", "modular"])
@pytest.mark.parametrize("shares", [True, False])
def test_hyperfan_in_preserves_forward_variance_whatever_the_features_size(kind, shares):
    method = InitConfig("hyperfan_in", generated_bias_shares_variance=shares)
    values, _, _ = generated(method, kind)
    for index, fan_in in enumerate((40, 60)):
        weight, bias = values[f"layers.{index}.weight"], values[f"layers.{index}.bias"]
        assert rms(weight) == pytest.approx(sqrt(2 / ((2 if shares else 1) * fan_in)), rel=0.08)
        # A generated bias alone makes up half of the pre-activation variance c = 2, or none of it.
        assert rms(bias) == (pytest.approx(1.0, rel=0.15) if shares else 0.0)
        assert bool((values[f"layers.{index}.gain"] == 1).all())


def test_hyperfan_in_of_a_target_without_rectifiers_has_half_the_variance():
    spec = TargetSpec.mlp(40, (60,), 30, activation="tanh", bias=False)
    values, _, _ = generated("hyperfan_in", spec=spec)
    assert rms(values["layers.0.weight"]) == pytest.approx(sqrt(1 / 40), rel=0.08)


@pytest.mark.parametrize("kind", ["mlp", "modular"])
def test_hyperfan_out_preserves_backward_variance(kind):
    values, _, _ = generated("hyperfan_out", kind)
    assert rms(values["layers.0.weight"]) == pytest.approx(sqrt(2 / 60), rel=0.08)
    assert rms(values["layers.1.weight"]) == pytest.approx(sqrt(2 / 30), rel=0.08)
    # max(0, c (1 - in / out)): 2 (1 - 40 / 60), and nothing where the layer narrows.
    assert rms(values["layers.0.bias"]) == pytest.approx(sqrt(2 / 3), rel=0.15)
    assert rms(values["layers.1.bias"]) == 0.0


@pytest.mark.parametrize("fan", ["hyperfan_in", "hyperfan_out"])
def test_hyperfan_heads_are_uniform_with_the_published_variance(fan):
    torch.manual_seed(0)
    hyper = HyperNet(SPEC, 6, "mlp", features=50, init=fan, condition_sample=5 * torch.randn(2000, 6))
    v, k = hyper.measure_second_moment(5 * torch.randn(20000, 6)), 50
    variance = 2 / ((2 * 40 if fan == "hyperfan_in" else 60) * k * v)
    head = hyper.head.banks[0].detach()
    assert head.var().item() == pytest.approx(variance, rel=0.1)
    assert head.abs().max().item() == pytest.approx(sqrt(3 * variance), rel=0.05)
    assert head.mean().abs().item() < 0.02 * sqrt(variance)


@pytest.mark.parametrize("scheme", ["torch", "kaiming", "orthogonal"])
def test_weight_hyper_templates_are_plain_networks(scheme):
    spec = TargetSpec.mlp(40, (60,), 30, gain=True, init=scheme, output_init_gain=0.1)
    values, v, k = generated("weight_hyper", spec=spec)
    std = {"torch": sqrt(1 / 120), "kaiming": sqrt(2 / 40), "orthogonal": sqrt(2 / 60)}[scheme]
    assert rms(values["layers.0.weight"]) == pytest.approx(std * sqrt(k * v), rel=0.1)
    assert rms(values["layers.0.bias"]) == pytest.approx(
        std * sqrt(k * v) if scheme == "torch" else 0.0, rel=0.2
    )
    torch.manual_seed(0)
    hyper = HyperNet(spec, 50, "linear", init="weight_hyper")
    assert bool((hyper.theta0()[: 40 * 60 + 60] == 0).all())
    one_hot = torch.eye(50)
    named = spec.unflatten(hyper.generate(one_hot).materialise())
    assert named["layers.0.weight"].std().item() == pytest.approx(std, rel=0.03)
    second = {"torch": sqrt(1 / 180), "kaiming": sqrt(2 / 60), "orthogonal": sqrt(2 / 60)}[scheme]
    assert named["layers.1.weight"].std().item() == pytest.approx(0.1 * second, rel=0.03)
    assert bool((named["layers.0.gain"] == 1).all())


@pytest.mark.parametrize(("method", "scheme"), [("bias_hyper", "normc"), ("weight_hyper", "normc")])
def test_square_layers_keep_their_orientation(method, scheme):
    spec = TargetSpec.mlp(6, (), 6, init=scheme)
    weight = spec.unflatten(HyperNet(spec, 3, "linear", init=method).generate(torch.eye(3)).materialise())
    rows = weight["layers.0.weight"].norm(dim=-1)
    assert torch.allclose(rows, torch.ones_like(rows))


@pytest.mark.parametrize("kind", ["linear", "mlp", "modular", "lowrank", "film"])
@pytest.mark.parametrize("scheme", ["torch", "kaiming", "orthogonal", "normc"])
def test_bias_hyper_at_scale_zero_is_one_plain_network_for_every_condition(kind, scheme):
    spec = TargetSpec.mlp(5, (16,), 3, init=scheme, output_init_gain=0.01)
    hyper = HyperNet(spec, 4, kind, init=InitConfig("bias_hyper", 0.0))
    x = torch.randn(10, 5)
    out = TargetMLP(spec)(hyper.generate(100 * torch.randn(10, 4)), x)
    named = spec.unflatten(hyper.theta0())
    network = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
    network.load_state_dict(
        {f"{2 * i}.{r}": named[f"layers.{i}.{r}"] for i in (0, 1) for r in ("weight", "bias")}
    )
    assert torch.allclose(out, network(x), atol=1e-6)
    assert torch.allclose(TargetMLP(spec)(hyper.generate(torch.randn(4)), x), out, atol=1e-6)


def test_bias_hyper_base_is_drawn_like_the_plain_network():
    spec = TargetSpec.mlp(30, (50,), 20)
    bases = [spec.unflatten(HyperNet(spec, 4, "linear").theta0()) for _ in range(20)]
    for index, fan_in in ((0, 30), (1, 50)):
        for role in ("weight", "bias"):
            values = torch.stack([base[f"layers.{index}.{role}"] for base in bases])
            assert values.abs().max().item() == pytest.approx(1 / sqrt(fan_in), rel=0.02)
            assert rms(values) == pytest.approx(1 / sqrt(3 * fan_in), rel=0.05)


@pytest.mark.parametrize("kind", ["mlp", "modular", "lowrank", "film"])
def test_the_trunk_learns_from_the_second_step_on_when_the_head_starts_at_zero(kind):
    spec = TargetSpec.mlp(5, (16,), 3)
    hyper = HyperNet(spec, 4, kind, hidden=(8,), init=InitConfig("bias_hyper", 0.0))
    optimizer = torch.optim.Adam(hyper.parameters(), lr=1e-3)
    condition, x = torch.randn(10, 4), torch.randn(10, 5)

    def largest_gradients():
        optimizer.zero_grad()
        TargetMLP(spec)(hyper.generate(condition), x).square().mean().backward()
        trunk = max(p.grad.abs().max().item() for p in hyper.trunk.parameters())
        head = max(p.grad.abs().max().item() for p in hyper.head.parameters() if p.grad is not None)
        return trunk, head

    trunk, head = largest_gradients()
    assert trunk == 0.0
    assert head > 0.0
    optimizer.step()
    trunk, head = largest_gradients()
    assert trunk > 0.0
    assert head > 0.0


@pytest.mark.parametrize("scheme", ["torch", "xavier"])
@pytest.mark.parametrize("scale", [0.1, 0.5])
@pytest.mark.parametrize("kind", ["mlp", "modular", "lowrank"])
def test_scale_is_the_generated_difference_relative_to_the_plain_network(kind, scale, scheme):
    spec = TargetSpec.mlp(40, (60,), 30, gain=True, init=scheme, output_init_gain=0.3)
    ratios = {tensor.name: [] for tensor in spec.tensors}
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        sample = 3 * torch.randn(1000, 6)
        # Both factors of `lowrank` grow with the features: its scale is exact where their norm is constant.
        hyper = HyperNet(
            spec,
            6,
            kind,
            features=50,
            feature_norm="l2" if kind == "lowrank" else "none",
            init=InitConfig("bias_hyper", scale),
            condition_sample=sample,
        )
        stats = hyper.generated_stats(sample)
        for name, values in ratios.items():
            values.append(stats[name] ** 2)
    for tensor in spec.tensors:
        ratio = sqrt(sum(ratios[tensor.name]) / SEEDS)
        if tensor.role == "bias" and scheme != "torch":
            assert ratio > 1e3  # the plain network's biases are zero
        else:
            assert ratio == pytest.approx(scale, rel=0.08 if tensor.role == "weight" else 0.25)


def test_the_scale_of_film_is_that_of_its_factors():
    torch.manual_seed(0)
    sample = 3 * torch.randn(1000, 20)
    spec = TargetSpec.mlp(40, (60,), 30)
    hyper = HyperNet(spec, 20, "film", init=InitConfig("bias_hyper", 0.2), condition_sample=sample)
    scales = torch.cat([weight.scale for weight in hyper.generate(sample).weights], dim=-1)
    assert rms(scales - 1) == pytest.approx(0.2, rel=0.1)


def test_hyperl_constants_are_rescaled_for_other_feature_numbers():
    spec = TargetSpec.mlp(6, (256,), 1, gain=True)
    for features in (1024, 64):
        head = HyperNet(spec, 17, "mlp", features=features, init="hyperl").head
        unit = sqrt(1024 / features)
        for bank, bound in ((head.banks[0], 0.05), (head.banks[1], 0.008)):
            assert bank.abs().max().item() == pytest.approx(bound * unit, rel=0.01)
            assert rms(bank) == pytest.approx(bound * unit / sqrt(3), rel=0.02)
        for name, bound in (("layers.0.bias", 0.05), ("layers.0.gain", 0.05), ("layers.1.bias", 0.008)):
            part = head.vector_bank[:, spec.vector_slices[name]]
            assert part.abs().max().item() == pytest.approx(bound * unit, rel=0.05)
        base = spec.unflatten(head.theta0())
        assert all(bool((value == (1.0 if "gain" in name else 0.0)).all()) for name, value in base.items())


def test_mip_is_a_plain_base_with_a_kaiming_fan_out_head():
    spec = TargetSpec.mlp(40, (60,), 30)
    encoder = CosSin([0.0] * 3, [1.0] * 3)
    head = HyperNet(spec, 3, "mlp", encoder=encoder, features=50, init="mip").head
    base = spec.unflatten(head.theta0())
    leaky = 2 / (1 + 0.01**2)
    for index, (fan_in, numel) in enumerate(((40, 2400), (60, 1800))):
        assert rms(head.banks[index]) == pytest.approx(sqrt(leaky / numel), rel=0.02)
        assert rms(base[f"layers.{index}.weight"]) == pytest.approx(sqrt(2 / fan_in), rel=0.05)
        assert bool((base[f"layers.{index}.bias"] == 0).all())


@pytest.mark.parametrize(
    "method",
    ["bias_hyper", "weight_hyper", "hyperfan_in", "hyperfan_out", "hyperl", "hyperzero", "mip"],
)
@pytest.mark.parametrize("kind", ["linear", "mlp", "modular"])
def test_every_method_works_on_module_targets(kind, method):
    spec = TargetSpec.from_module(nn.Sequential(nn.Conv2d(2, 3, 3), nn.LayerNorm(3), nn.Linear(3, 2)))
    hyper = HyperNet(spec, 4, kind, init=InitConfig(method, 0.1))
    flat = hyper.generate(torch.randn(5, 4)).materialise()
    assert bool(flat.isfinite().all())
    assert bool((flat[0] != flat[1]).any())
    base = spec.unflatten(hyper.theta0())
    assert bool((base["1.weight"] == 1).all())
    assert bool((base["1.bias"] == 0).all())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "bias_hyp"}, UnknownNameError, "did you mean 'bias_hyper'"),
        ({"scale": -0.1}, ConfigError, "at least 0, got -0.1"),
        ({"scale": float("nan")}, ConfigError, "at least 0, got nan"),
        ({"scale": float("inf")}, ConfigError, "at least 0, got inf"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        InitConfig(**options)
