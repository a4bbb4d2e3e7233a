"""HyperNet as a whole: refusals, copies, state, dtypes, devices."""

import copy

import pytest
import torch
from torch import nn

from hyperrl import registry
from hyperrl.errors import (
    BoundsError,
    ConfigError,
    HyperRLError,
    NonFiniteError,
    PluginError,
    ShapeError,
    UnknownNameError,
)
from hyperrl.nets import RMS, CosSin, EmbeddingTable, HyperNet, TargetMLP, TargetSpec
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.kinds.mlp import MlpKind

SPEC = TargetSpec.mlp(3, (5,), 2, gain=True)
KINDS = registry.kinds.names()


@pytest.mark.parametrize("condition", [torch.zeros(3), torch.zeros(4, 1), torch.zeros(()), torch.zeros(2, 0)])
def test_conditions_of_another_size_are_refused(condition):
    with pytest.raises(ShapeError, match="expected a condition ending in 2 numbers, got shape"):
        HyperNet(SPEC, 2).generate(condition)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("encoder", ["identity", "running_norm", CosSin([0.0] * 2, [1.0] * 2)])
def test_conditions_that_are_not_finite_are_refused(value, encoder):
    condition = torch.tensor([[0.0, 0.5], [0.0, value]])
    with pytest.raises(NonFiniteError, match="must be finite, got NaN or infinite"):
        HyperNet(SPEC, 2, encoder=encoder).generate(condition)
    with pytest.raises(NonFiniteError, match="must be finite"):
        HyperNet(SPEC, 1, encoder=EmbeddingTable(3, 2)).generate(condition[:, 1:])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "mpl"}, UnknownNameError, "unknown hypernetwork kind 'mpl', did you mean 'mlp'"),
        ({"kind": nn.Linear}, PluginError, "no subclass of hyperrl.nets.kinds.base.Kind"),
        ({"encoder": "rsm"}, UnknownNameError, "did you mean 'rms'"),
        ({"encoder": RMS(3)}, ShapeError, "takes 3 dimensions, the condition has 2"),
        ({"trunk": "residul"}, UnknownNameError, "unknown trunk 'residul', did you mean 'residual'"),
        ({"trunk": "residual", "hidden": ()}, ConfigError, "positive integer widths"),
        ({"hidden": (4, 0)}, ConfigError, r"positive integers, got \[2, 4, 0, 128\]"),
        ({"features": 0}, ConfigError, "positive integers"),
        ({"activation": "rleu"}, UnknownNameError, "did you mean 'relu'"),
        ({"feature_norm": "l"}, UnknownNameError, "unknown feature norm 'l'"),
        ({"init": "hyperfan"}, UnknownNameError, "did you mean 'hyperfan_in'"),
        ({"kind": "linear", "hidden": (4,)}, ConfigError, "LinearKind has no trunk"),
        ({"kind": "linear", "features": 4}, ConfigError, "LinearKind has no trunk"),
        ({"kind": "linear", "trunk": "residual"}, ConfigError, "LinearKind has no trunk"),
        ({"kind": "modular", "trunk": "none", "hidden": (4,)}, ConfigError, "trunk 'none' has no widths"),
        ({"kind": "modular", "trunk": "none", "features": 4}, ConfigError, "trunk 'none' has no widths"),
        ({"rank": 3}, UnknownNameError, "unknown option of MlpKind 'rank'"),
        ({"condition_sample": torch.zeros(4, 3)}, ShapeError, "ending in 2 numbers"),
        ({"condition_sample": torch.zeros(0, 2)}, ShapeError, "is empty"),
        ({"condition_sample": torch.full((1, 2), float("nan"))}, NonFiniteError, "must be finite"),
        (
            {"encoder": CosSin([0.0] * 2, [1.0] * 2), "condition_sample": torch.full((1, 2), 2.0)},
            BoundsError,
            "outside its bounds",
        ),
    ],
)
def test_constructor_refusals(options, error, message):
    with pytest.raises(error, match=message) as caught:
        HyperNet(SPEC, 2, **options)
    assert isinstance(caught.value, HyperRLError)


def test_conditions_without_dimensions_are_refused():
    with pytest.raises(ConfigError, match="at least 1 dimension, got 0"):
        HyperNet(SPEC, 0)


def test_kinds_are_found_by_name_and_by_class():
    assert resolve_kind("mlp") is MlpKind
    assert resolve_kind(MlpKind) is MlpKind
    assert isinstance(HyperNet(SPEC, 2, MlpKind).head, MlpKind)


@pytest.mark.parametrize(
    ("options", "trunk", "features"),
    [
        ({"kind": "linear"}, "Identity", 2),
        ({"kind": "film"}, "Identity", 2),
        ({"kind": "concat", "features": 7}, "MLPTrunk", 7),
        ({"kind": "concat", "hidden": (7,)}, "MLPTrunk", 7),
        ({"kind": "mlp"}, "MLPTrunk", 128),
        ({"kind": "mlp", "hidden": ()}, "MLPTrunk", 128),
        ({"kind": "mlp", "trunk": "residual", "hidden": (8, 9)}, "ResidualTrunk", 9),
        ({"kind": "modular", "trunk": "none"}, "Identity", 2),
        ({"kind": "linear", "trunk": "none"}, "Identity", 2),
        ({"kind": "modular", "encoder": "direction_log_norm"}, "MLPTrunk", 128),
    ],
)
def test_the_trunk_follows_from_the_kind_and_the_options(options, trunk, features):
    hyper = HyperNet(SPEC, 2, **options)
    assert type(hyper.trunk).__name__ == trunk
    assert hyper.head.feature_dim == features
    assert hyper.features(torch.randn(4, 2)).shape == (4, features)


@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_copies_and_seeds_reproduce_the_weights(kind):
    def build(seed):
        torch.manual_seed(seed)
        return HyperNet(SPEC, 2, kind, encoder="running_norm")

    hyper, other, condition = build(0), build(1), torch.randn(4, 2)
    hyper.encoder.update(3 + torch.randn(50, 2))
    expected = hyper.generate(condition).materialise()
    assert not torch.equal(other.generate(condition).materialise(), expected)
    other.load_state_dict(hyper.state_dict())
    assert torch.equal(other.generate(condition).materialise(), expected)
    copied = copy.deepcopy(hyper)
    copied.set_theta0(copied.theta0() + 1)
    assert torch.equal(hyper.generate(condition).materialise(), expected)
    assert torch.allclose(copied.theta0(), hyper.theta0() + 1)
    assert torch.equal(build(0).theta0(), hyper.theta0())


@pytest.mark.parametrize("kind", KINDS)
def test_double_precision_agrees_with_single(kind):
    hyper = HyperNet(SPEC, 2, kind)
    with torch.no_grad():
        for parameter in hyper.parameters():
            parameter.normal_(0, 0.3)
    condition, x = torch.randn(4, 2), torch.randn(4, 3)
    single = TargetMLP(SPEC)(hyper.generate(condition), x)
    double = TargetMLP(SPEC)(hyper.double().generate(condition.double()), x.double())
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-4)


@pytest.mark.parametrize(
    "device",
    ["meta", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))],
)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_moves_with_the_module(kind, device):
    hyper = HyperNet(SPEC, 2, kind, encoder="running_norm").to(device)
    generated = hyper(torch.zeros(4, 2, device=device))
    out = TargetMLP(SPEC)(generated, torch.zeros(4, 5, 3, device=device))
    assert out.device.type == device
    assert generated.materialise().device.type == device
    assert hyper.theta0().device.type == device
    out.sum().backward()
    assert {p.grad.device.type for p in hyper.parameters() if p.grad is not None} == {device}


def test_the_second_moment_is_that_of_the_features():
    hyper = HyperNet(SPEC, 2, features=16)
    sample = 4 * torch.randn(100, 2)
    expected = hyper.features(sample).square().mean().item()
    assert hyper.measure_second_moment(sample) == pytest.approx(expected)
    hyper = HyperNet(SPEC, 2, feature_norm="l2").double()
    assert hyper.measure_second_moment() == pytest.approx(1.0, rel=1e-4)


def test_generated_stats_name_every_tensor_and_the_features(random_hyper):
    hyper = random_hyper(SPEC, 2, "mlp", features=16)
    condition = torch.randn(50, 2).double()
    stats = hyper.generated_stats(condition)
    assert set(stats) == {tensor.name for tensor in SPEC.tensors} | {"feature_norm"}
    theta = SPEC.unflatten(hyper.generate(condition).materialise())
    base = SPEC.unflatten(hyper.theta0())
    for name, value in theta.items():
        ratio = (value - base[name]).square().mean().sqrt() / base[name].square().mean().sqrt()
        assert stats[name] == pytest.approx(ratio.item())
    assert stats["feature_norm"] == pytest.approx(hyper.features(condition).norm(dim=-1).mean().item())
