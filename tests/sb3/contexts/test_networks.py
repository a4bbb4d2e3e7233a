"""Networks with contexts against closed forms, per-sample loops and the published sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets.matching import count_params
from hyperrl.plain_policy import ActionHead, PlainPolicy
from hyperrl.sb3.contexts import KINDS, Grouping, Groups, NetConfig, make_net, matched

every_kind = pytest.mark.parametrize("kind", KINDS)
HYPERS = ["mlp", "lowrank", "modular", "linear", "chunked"]
VARIANTS = [(kind, {}) for kind in KINDS] + [("hyper", {"hypernet": name}) for name in HYPERS[1:]]
STATE, CONTEXT, OUT, SIDE = 5, 3, 2, 2


def build(kind, dtype=th.float64, hidden=(16, 12), activation="tanh", side=SIDE, **options):
    if kind == "adapter":
        options.setdefault("bottleneck", 8)
    net = make_net(kind, STATE, CONTEXT, OUT, NetConfig(hidden, activation, options=options), side).to(dtype)
    with th.no_grad():
        # Heads that start at zero would leave nothing to compare.
        for parameter in net.parameters():
            parameter.add_(0.05 * th.randn_like(parameter))
    return net


def batch(dtype=th.float64, rows=40, distinct=6):
    table = th.randn(distinct, CONTEXT, dtype=dtype)
    return th.randn(rows, STATE, dtype=dtype), table[th.randint(0, distinct, (rows,))]


def grouped_and_alone(net, x, contexts):
    grouped = net(x, Grouping().of(contexts))
    alone = [net(x[i : i + 1], Groups.by_row(contexts[i : i + 1])) for i in range(len(x))]
    return grouped, th.cat(alone)


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(th.float64, 1e-12), (th.float32, 1e-6)])
def test_groups_give_what_rows_alone_give_gradients_too(kind, options, dtype, tolerance):
    net, (x, contexts) = build(kind, dtype, **options), batch(dtype)
    x.requires_grad_(True)
    grouped, alone = grouped_and_alone(net, x, contexts)
    assert grouped.shape == (40, OUT + SIDE)
    assert float((grouped - alone).detach().abs().max() / alone.detach().abs().max()) < tolerance
    inputs = [x, *net.parameters()]
    weights = th.randn_like(grouped)
    first, second = (
        th.autograd.grad((value * weights).sum(), inputs, allow_unused=True) for value in (grouped, alone)
    )
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            # Sums over rows round in another order.
            assert float((one - other).abs().max()) <= 20 * tolerance * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)
@pytest.mark.parametrize("distinct", [1, 6, 40])
def test_acting_with_what_was_prepared_gives_the_same(kind, options, distinct):
    net, (x, contexts) = build(kind, **options), batch(distinct=distinct)
    groups = Grouping().of(contexts)
    with th.no_grad():
        assert th.allclose(net.acting(groups)(x), net(x, groups), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(16,), (16, 12), (8, 8, 8)])
def test_in_one_context_it_is_the_plain_network(kind, options, activation, hidden):
    net = build(kind, activation=activation, hidden=hidden, **options)
    x, contexts = batch(distinct=1)
    policy = PlainPolicy(tuple(net.layers(contexts[0])), ActionHead.unbounded(OUT))
    expected = net(x, Grouping().of(contexts))[:, :OUT].detach().numpy()
    # The plain layers hold float32.
    found = policy(x.numpy(), np.float64)
    assert np.abs(found - expected).max() < 2e-6 * max(1, np.abs(expected).max())


@every_kind
def test_only_the_unaware_network_ignores_the_context(kind):
    net, (x, contexts) = build(kind), batch()
    same = th.equal(net(x, Groups.by_row(contexts)), net(x, Groups.by_row(contexts + 1)))
    assert same == (kind == "unaware") == (not net.sees_context)


def linear(x, layer):
    return x @ layer.weight.t() + layer.bias


def test_concat_is_a_network_of_both():
    net, (x, contexts) = build("concat"), batch()
    h = th.cat([x, contexts], 1)
    for layer in net.dense[:-1]:
        h = th.tanh(linear(h, layer))
    assert th.allclose(net(x, Groups.by_row(contexts)), linear(h, net.dense[-1]))


def test_cgate_multiplies_features_in_front_of_the_last_hidden_layer():
    net, (x, contexts) = build("cgate"), batch()
    first, second, last = net.dense
    product = th.tanh(linear(x, first)) * th.tanh(linear(contexts, net.gate[0]))
    assert th.allclose(net(x, Groups.by_row(contexts)), linear(th.tanh(linear(product, second)), last))


def test_film_scales_and_shifts_units():
    net, (x, contexts) = build("film"), batch()
    generated = net.hyper(contexts)
    h = x
    for index, layer in enumerate(net.spec.layers):
        scale, base = generated.weights[index].scale, generated.weights[index].base
        h = scale * (h @ base) + generated.vector(layer.bias)
        h = th.tanh(h) if index < 2 else h
    assert th.allclose(net(x, Groups.by_row(contexts)), h)


def test_the_adapter_adds_a_bottleneck_behind_a_trunk_without_a_last_activation():
    net, (x, contexts) = build("adapter"), batch()
    named = net.spec.unflatten(net.hyper(contexts).materialise())
    h = linear(th.tanh(linear(x, net.trunk[0])), net.trunk[1])
    down = th.relu(th.einsum("boi,bi->bo", named["layers.0.weight"], h) + named["layers.0.bias"])
    up = th.relu(th.einsum("boi,bi->bo", named["layers.1.weight"], down) + named["layers.1.bias"])
    assert (up >= 0).all()
    # The logarithm of the standard deviation comes from the trunk itself.
    expected = th.cat([linear(h + up, net.output[0]), linear(h, net.side[0])], 1)
    assert th.allclose(net(x, Groups.by_row(contexts)), expected)


def test_the_published_sizes_of_the_decision_adapter():
    net = make_net("adapter", 3, 1, 2, NetConfig((256, 256)), 2)
    assert net.n_generated == 16_672
    assert net.hyper.head.chunks == 46
    assert [tuple(matrix.shape) for matrix in net.hyper.head.matrices] == [(9, 37), (37, 37), (37, 370)]
    assert count_params(net.hyper) == net.hyper.n_params() == 16_204
    trunk_and_heads = (3 * 256 + 256) + (256 * 256 + 256) + 2 * (256 * 2 + 2)
    assert count_params(net) == trunk_and_heads + 16_204


@pytest.mark.parametrize("size", [1, 2, 5, 13])
def test_the_adapters_hypernetwork_has_no_more_parameters_than_it_generates(size):
    net = make_net("adapter", 3, size, 2, NetConfig((200, 200)))
    assert 0.9 * net.n_generated < count_params(net.hyper) <= net.n_generated


def test_hyper_starts_as_the_same_plain_network_in_every_context():
    net = make_net("hyper", STATE, CONTEXT, OUT, NetConfig((8,)))
    theta = net.hyper(th.randn(9, CONTEXT)).materialise()
    assert th.equal(theta, net.hyper.theta0().expand(9, -1))
    assert theta.std() > 0.05


@every_kind
@pytest.mark.parametrize(("wanted", "hidden"), [(30_000, (64, 64)), (8_000, (8, 8, 8)), (8_000, (64,))])
def test_widths_are_found_for_a_number_of_parameters(kind, wanted, hidden):
    state = th.get_rng_state()
    config, count = matched(kind, 17, 2, 6, NetConfig(hidden), wanted, 6)
    assert th.equal(th.get_rng_state(), state)
    net = make_net(kind, 17, 2, 6, config, 6)
    assert count_params(net) == count
    assert abs(count - wanted) / wanted < 0.02
    # No neighbour is nearer.
    for step in (-1, 1):
        other = NetConfig((*config.hidden[:-1], config.hidden[-1] + step))
        assert abs(count_params(make_net(kind, 17, 2, 6, other, 6)) - wanted) >= abs(count - wanted)


@pytest.mark.parametrize(
    ("kind", "options", "error", "words"),
    [
        ("hypr", {}, UnknownNameError, "did you mean 'hyper'"),
        ("concat", {"features": 3}, ConfigError, "takes no options"),
        ("hyper", {"feature": 3}, UnknownNameError, "did you mean 'features'"),
        ("hyper", {"hypernet": "mlpp"}, UnknownNameError, "did you mean 'mlp'"),
        ("hyper", {"rank": 3}, UnknownNameError, "rank"),
        (["hyper"], {}, UnknownNameError, "unknown kind"),
        ("hyper", {"context_hidden": 64}, ConfigError, "context_hidden must be a list of widths"),
        ("film", {"context_hidden": "64"}, ConfigError, "context_hidden must be a list of widths"),
        ("adapter", {"hypernet_hidden": 8}, ConfigError, "hypernet_hidden must be a list of widths"),
        ("adapter", {"bottleneck": "x"}, ConfigError, "positive integers"),
        ("adapter", {"embedding": 0}, ConfigError, "embedding must be a positive integer"),
    ],
)
def test_wrong_settings_are_named(kind, options, error, words):
    with pytest.raises(error, match=words):
        make_net(kind, 3, 1, 2, NetConfig((8,), options=options))


@pytest.mark.parametrize("kind", ["cgate", "adapter"])
def test_some_kinds_need_a_hidden_layer(kind):
    with pytest.raises(ConfigError, match="at least one hidden layer"):
        make_net(kind, 3, 1, 2, NetConfig(()))
