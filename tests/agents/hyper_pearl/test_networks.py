"""The networks: published sizes and constants, weights once for each task, dense layers of one task."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.nn import functional

from hyperrl.errors import UnknownNameError
from hyperrl_agents.hyper_pearl.encoder import ContextEncoder, DenseNet
from hyperrl_agents.hyper_pearl.networks import (
    LOG_STD_RANGE,
    PUBLISHED_PRIMARY,
    Shape,
    make_policy,
    make_q,
    make_v,
)
from hyperrl_agents.hyper_pearl.policies import HyperPEARLPolicy

S, A, C = 20, 6, 5


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@cache
def published(part):
    torch.manual_seed(0)
    return {"policy": make_policy, "q": make_q, "v": make_v}[part](Shape(S, A, C, primary=PUBLISHED_PRIMARY))


def small(kind="hyper", **kwargs):
    hidden = (7,) if kind == "hyper" else (7, 9)
    return Shape(3, 2, 4, kind, hidden=hidden, primary=(8, 16), blocks=1, **kwargs)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("part", "numbers"), [("policy", 15_116_824), ("q", 9_850_114), ("v", 8_275_714)])
def test_the_published_networks_have_the_published_numbers_of_parameters(part, numbers):
    assert count(published(part)) == numbers


def test_plain_networks_have_three_layers_of_300():
    box = spaces.Box(-1, 1, (S,), np.float32), spaces.Box(-1, 1, (A,), np.float32)
    policy = HyperPEARLPolicy(*box, lambda _: 1e-4, networks="mlp")

    def dense(*sizes):
        return sum((a + 1) * b for a, b in pairwise(sizes))

    assert count(policy.actor) == dense(S + C, 300, 300, 300, 2 * A)
    assert count(policy.q1) == count(policy.q2) == dense(S + A + C, 300, 300, 300, 1)
    assert count(policy.v) == dense(S + C, 300, 300, 300, 1)
    assert count(policy.encoder) == dense(S + A + 1, 200, 200, 200, 2 * C)


def test_plain_networks_start_as_pearls():
    net = DenseNet((50, 300, 200, 8), last=3e-3)
    first, second, last = net.layers
    for layer in (first, second):
        # By the outputs: U(-b, b) with b = 1 / sqrt(300), 1 / sqrt(200).
        bound = 1 / np.sqrt(layer.out_features)
        assert 0.99 * bound < layer.weight.abs().max().item() <= bound
        assert (layer.bias == 0.1).all()
    for part in (last.weight, last.bias):
        assert 0.7 * 3e-3 < part.abs().max().item() <= 3e-3
    shape = Shape(S, A, C, "mlp", hidden=(300, 300, 300))
    assert make_policy(shape).net.layers[-1].weight.abs().max().item() <= 1e-3


def test_the_heads_start_with_the_published_constants():
    head, spec = published("policy").hyper.head, published("policy").hyper.spec
    parts = {
        0.05: [head.banks[0], head.vector_bank[:, spec.vector_slices["layers.0.gain"]]],
        0.008: [head.banks[1][..., :A]],
        0.001: [head.banks[1][..., A:]],
    }
    for role in ("bias", "gain"):
        own = spec.vector_slices[f"layers.1.{role}"]
        parts[0.008].append(head.vector_bank[:, own.start : own.start + A])
        parts[0.001].append(head.vector_bank[:, own.start + A : own.stop])
    for bound, tensors in parts.items():
        for tensor in tensors:
            assert 0.98 * bound < tensor.abs().max().item() <= bound * (1 + 1e-6)
            assert tensor.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.03)


@pytest.mark.parametrize("kind", ["hyper", "mlp"])
def test_weights_generated_once_for_each_task_are_those_of_each_row(kind):
    policy = make_policy(small(kind)).double()
    latents, states = torch.randn(3, 4).double(), torch.randn(3, 5, 3).double()
    rows = latents.repeat_interleave(5, dim=0), states.reshape(15, 1, 3)
    both = []
    for given in ((latents, states), rows):
        policy.zero_grad()
        mean, log_std = policy(*given)
        (mean.square().sum() + log_std.sum()).backward()
        both.append(
            [mean.reshape(15, 2), log_std.reshape(15, 2), *(one.grad.clone() for one in policy.parameters())]
        )
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other)


def test_the_trunk_runs_once_for_each_task():
    policy = make_policy(small())
    rows = []
    policy.hyper.trunk.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    policy(torch.randn(3, 4), torch.randn(3, 50, 3))
    act = policy.act_in(torch.randn(2, 4))
    for _ in range(5):
        act(torch.tensor([1, 0, 1]), torch.randn(3, 3))
    assert rows == [3, 2]


def test_a_generated_layer_multiplies_by_its_gain_before_it_adds_its_bias():
    policy = make_policy(small()).double()
    latent, state = torch.randn(4).double(), torch.randn(3).double()
    named = policy.hyper(latent).as_dict()
    x = state
    for index in range(2):
        x = (
            named[f"layers.{index}.gain"] * (named[f"layers.{index}.weight"] @ x)
            + named[f"layers.{index}.bias"]
        )
        x = x.relu() if index == 0 else x
    mean, log_std = policy(latent[None], state[None, None])
    torch.testing.assert_close(torch.cat([mean[0, 0], log_std[0, 0]]), x)


@pytest.mark.parametrize("kind", ["hyper", "mlp"])
def test_acting_and_the_dense_layers_of_a_task_are_the_same_policy(kind):
    policy = make_policy(small(kind)).double()
    latents, states = torch.randn(3, 4).double(), torch.randn(5, 3).double()
    tasks = torch.tensor([2, 0, 1, 1, 2])
    mean, log_std = policy.act_in(latents)(tasks, states)
    for row, task in enumerate(tasks):
        own = policy(latents[task][None], states[row][None, None])
        torch.testing.assert_close(mean[row], own[0][0, 0])
        torch.testing.assert_close(log_std[row], own[1][0, 0])
        x = states[row]
        layers = policy.layers(latents[task])
        for number, (weight, bias) in enumerate(layers):
            x = functional.linear(x, weight, bias)
            x = x.relu() if number < len(layers) - 1 else x
        torch.testing.assert_close(mean[row], x)


@pytest.mark.parametrize("kind", ["hyper", "mlp"])
def test_values_of_a_batch_are_those_of_single_rows(kind):
    for make, size in ((make_q, 6), (make_v, 4)):
        value = make(small(kind)).double()
        states, inputs = torch.randn(2, 5, 3).double(), torch.randn(2, 5, size).double()
        together = value(states, inputs)
        for task in range(2):
            for row in range(5):
                alone = value(states[task, row][None, None], inputs[task, row][None, None])
                torch.testing.assert_close(together[task, row], alone[0, 0])


def test_log_standard_deviations_are_clamped():
    policy = make_policy(small())
    with torch.no_grad():
        policy.hyper.head.base_vectors.mul_(0).add_(100.0)
    assert policy(torch.randn(1, 4), torch.randn(1, 1, 3))[1].max().item() == LOG_STD_RANGE[1]


def test_the_encoder_gives_positive_variances_however_sure_it_is():
    encoder = ContextEncoder(5, C, (8,))
    with torch.no_grad():
        encoder.net.layers[-1].bias[C:] = -200.0
    mean, variance = encoder(torch.randn(3, 10, 5))
    assert mean.isfinite().all()
    assert (variance > 0).all()


def test_an_unknown_kind_of_networks_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'hyper'"):
        Shape(S, A, C, "hypr")
