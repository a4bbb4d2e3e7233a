"""Each kind against its formula, written out one condition at a time."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from hyperrl import registry
from hyperrl.errors import ConfigError, ShapeError, UnknownNameError
from hyperrl.nets import HyperNet, TargetMLP, TargetSpec
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.kinds.base import Kind
from hyperrl.nets.kinds.linear import LinearKind

SPEC = TargetSpec.mlp(3, (5,), 2, activation="tanh", gain=True)
PLAIN = TargetSpec.mlp(3, (5,), 2, activation="tanh")


def conditions_and_features(hyper, number=4):
    condition = torch.randn(number, hyper.condition_dim, dtype=torch.float64)
    return condition, hyper.features(condition)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_linear_heads_add_templates_weighted_by_features(random_hyper, kind):
    hyper = random_hyper(SPEC, 2, kind)
    condition, features = conditions_and_features(hyper)
    theta = SPEC.unflatten(hyper.generate(condition).materialise())
    base = SPEC.unflatten(hyper.theta0())
    for row, f in enumerate(features):
        for index in range(2):
            expected = base[f"layers.{index}.weight"].clone()
            for k in range(len(f)):
                expected = expected + f[k] * hyper.head.banks[index][k].T
            assert torch.allclose(theta[f"layers.{index}.weight"][row], expected)
        vectors = torch.cat([theta[tensor.name][row] for tensor in SPEC.vectors])
        assert torch.allclose(vectors, hyper.head.base_vectors + hyper.head.vector_bank.T @ f)


def test_a_linear_kind_without_trunk_sees_the_encoded_condition(random_hyper):
    hyper = random_hyper(SPEC, 2, "linear", encoder="direction_log_norm")
    condition, features = conditions_and_features(hyper)
    assert torch.equal(features, hyper.encoder(condition))


def test_low_rank_kind_adds_a_product_of_generated_factors(random_hyper):
    hyper = random_hyper(SPEC, 2, "lowrank", rank=2)
    condition, features = conditions_and_features(hyper)
    theta = SPEC.unflatten(hyper.generate(condition).materialise())
    base, head = SPEC.unflatten(hyper.theta0()), hyper.head
    for row, f in enumerate(features):
        for index, layer in enumerate(SPEC.layers):
            left = (head.left_bases[index] + f @ head.left_heads[index]).reshape(layer.in_features, 2)
            right = (head.right_bases[index] + f @ head.right_heads[index]).reshape(2, layer.out_features)
            difference = theta[layer.weight][row] - base[layer.weight]
            assert torch.allclose(difference, (left @ right).T)
            assert torch.linalg.matrix_rank(difference) == 2
        vectors = torch.cat([theta[tensor.name][row] for tensor in SPEC.vectors])
        assert torch.allclose(vectors, head.base_vectors + f @ head.vector_bank)


def test_modular_kind_combines_templates_per_layer_with_coefficients_of_fixed_norm(random_hyper):
    hyper = random_hyper(SPEC, 2, "modular", modules=3)
    condition, features = conditions_and_features(hyper)
    theta = SPEC.unflatten(hyper.generate(condition).materialise())
    base, head = SPEC.unflatten(hyper.theta0()), hyper.head
    for row, f in enumerate(features):
        raw = (f @ head.coefficient_head + head.coefficient_bias).reshape(2, 3)
        for index in range(2):
            alpha = raw[index] * 3**0.5 / raw[index].norm()
            expected = base[f"layers.{index}.weight"] + sum(
                alpha[m] * head.banks[index][m].T for m in range(3)
            )
            assert torch.allclose(theta[f"layers.{index}.weight"][row], expected, rtol=1e-6)
            for role in ("bias", "gain"):
                name = f"layers.{index}.{role}"
                bank = head.vector_bank[:, SPEC.vector_slices[name]]
                assert torch.allclose(theta[name][row], base[name] + alpha @ bank, rtol=1e-6)
    norms = head.coefficients(features).norm(dim=-1)
    assert torch.allclose(norms, torch.full_like(norms, 3**0.5), rtol=1e-6)


def test_a_modular_kind_combines_any_coefficients_and_rescales_only_when_asked(random_hyper):
    head = random_hyper(SPEC, 2, "modular", modules=3).head
    assert head.sizes == (2, 3)
    # A single template of each layer, as large as it is asked for.
    one = torch.zeros(2, 3, dtype=torch.float64)
    one[0, 1], one[1, 2] = 2.0, 5.0
    named, base = head.combine(one).as_dict(), SPEC.unflatten(head.theta0())
    for index, (module, size) in enumerate(((1, 2.0), (2, 5.0))):
        expected = base[f"layers.{index}.weight"] + size * head.banks[index][module].T
        torch.testing.assert_close(named[f"layers.{index}.weight"], expected)
    torch.testing.assert_close(head.normalised(one), 3**0.5 * one.sign(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", registry.kinds.names())
def test_kinds_that_generate_no_weights_share_theirs_or_rescale_them(kind, random_hyper):
    """The weights of two conditions are proportional unit by unit where nothing is generated."""
    hyper = random_hyper(PLAIN, 2, kind)
    theta = PLAIN.unflatten(hyper.generate(torch.randn(2, 2, dtype=torch.float64)).materialise())
    one, other = theta["layers.0.weight"]
    ratio = one / other
    shared = torch.allclose(ratio, ratio[:, :1].expand_as(ratio))
    assert resolve_kind(kind).generates_weights == (not shared)


def test_film_kind_is_feature_wise_modulation_of_a_shared_network(random_hyper):
    hyper = random_hyper(PLAIN, 2, "film", hidden=(4,), features=6)
    condition, features = conditions_and_features(hyper)
    base, head = PLAIN.unflatten(hyper.theta0()), hyper.head
    x = torch.randn(4, 3, dtype=torch.float64)
    scale = 1 + features @ head.scale_head
    shift = features @ head.vector_bank
    hidden = functional.linear(x, base["layers.0.weight"]) * scale[:, :5]
    hidden = torch.tanh(hidden + base["layers.0.bias"] + shift[:, :5])
    expected = functional.linear(hidden, base["layers.1.weight"]) * scale[:, 5:]
    expected = expected + base["layers.1.bias"] + shift[:, 5:]
    assert torch.allclose(TargetMLP(PLAIN)(hyper.generate(condition), x), expected)


def test_concat_kind_is_a_network_of_the_concatenated_input(random_hyper):
    hyper = random_hyper(PLAIN, 2, "concat")
    base, head = PLAIN.unflatten(hyper.theta0()), hyper.head
    network = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    with torch.no_grad():
        network[0].weight.copy_(torch.cat([base["layers.0.weight"], head.condition_weight.T], dim=1))
        network[0].bias.copy_(base["layers.0.bias"])
        network[2].weight.copy_(base["layers.1.weight"])
        network[2].bias.copy_(base["layers.1.bias"])
    condition = torch.randn(4, 2, dtype=torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64)
    expected = network(torch.cat([x, condition], dim=-1))
    assert torch.allclose(TargetMLP(PLAIN)(hyper.generate(condition), x), expected)


def test_concat_kind_starts_like_a_plain_network_of_the_concatenated_input():
    spec = TargetSpec.mlp(30, (400,), 2)
    hyper = HyperNet(spec, 20, "concat")
    bound = 50**-0.5
    for weight in (hyper.head.base_weights[0], hyper.head.condition_weight):
        assert 0.99 * bound < weight.abs().max() <= bound
    assert 0.95 * bound < spec.unflatten(hyper.theta0())["layers.0.bias"].abs().max() <= bound


@pytest.mark.parametrize("kind", registry.kinds.names())
def test_heads_are_bare_parameters_that_orthogonal_initialisers_cannot_find(kind):
    assert not any(isinstance(m, nn.Linear | nn.Conv2d) for m in HyperNet(SPEC, 2, kind).head.modules())


@pytest.mark.parametrize("kind", registry.kinds.names())
def test_theta0_is_read_replaced_and_frozen(kind):
    hyper = HyperNet(SPEC, 2, kind)
    flat = torch.randn(SPEC.numel)
    hyper.set_theta0(flat)
    assert torch.equal(hyper.theta0(), flat)
    trainable = hyper.n_params()
    hyper.freeze_theta0()
    assert hyper.n_params() == trainable - SPEC.numel
    assert not hyper.theta0().requires_grad
    hyper.freeze_theta0(False)
    assert hyper.n_params() == trainable
    with pytest.raises(ShapeError, match=f"expected {SPEC.numel} weights, got shape"):
        hyper.set_theta0(flat[1:])


@pytest.mark.parametrize("kind", ["linear", "mlp", "lowrank", "modular"])
def test_targets_without_biases_and_gains_work(kind):
    spec = TargetSpec.mlp(3, (4,), 2, bias=False)
    hyper = HyperNet(spec, 2, kind)
    optimizer = torch.optim.Adam(hyper.parameters(), fused=True)
    out = TargetMLP(spec)(hyper.generate(torch.randn(5, 2)), torch.randn(5, 3))
    out.square().sum().backward()
    optimizer.step()
    assert bool(hyper.generate(torch.randn(5, 2)).materialise().isfinite().all())


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        ("lowrank", {"rank": 0}, ConfigError, "rank .* at least 1, got 0"),
        ("lowrank", {"rank": 1.5}, ConfigError, "rank .* integer .* got 1.5"),
        ("modular", {"modules": 0}, ConfigError, "at least 1 modules, got 0"),
        ("modular", {"modules": "8"}, ConfigError, "got '8'"),
        ("lowrank", {"rang": 2}, UnknownNameError, "option of LowRankKind 'rang', did you mean 'rank'"),
        ("linear", {"rank": 2}, UnknownNameError, "there is no option of LinearKind at all"),
        ("lowrank", {"init": "hyperl"}, ConfigError, "'bias_hyper' only, not 'hyperl'"),
        ("film", {"init": "mip"}, ConfigError, "'bias_hyper' only, not 'mip'"),
    ],
)
def test_options_that_a_kind_cannot_take_are_refused(kind, options, error, message):
    with pytest.raises(error, match=message):
        HyperNet(SPEC, 2, kind, **options)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lowrank", "dense layers"),
        ("film", "dense layers have biases"),
        ("concat", "first dense layer has a bias"),
    ],
)
def test_kinds_that_need_dense_layers_or_biases_say_so(kind, message):
    with pytest.raises(ConfigError, match=message):
        HyperNet(TargetSpec.from_module(nn.Conv2d(1, 1, 1)), 2, kind)
    if kind != "lowrank":
        with pytest.raises(ConfigError, match=message):
            HyperNet(TargetSpec.mlp(2, (), 1, bias=False), 2, kind)


def test_kinds_may_take_any_option_by_name():
    class Open(LinearKind):
        def __init__(self, spec: TargetSpec, feature_dim: int, **options: int) -> None:
            super().__init__(spec, feature_dim)
            self.options = options

    assert HyperNet(SPEC, 2, Open, anything=3).head.options == {"anything": 3}


def test_kind_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Kind(SPEC, 2)
