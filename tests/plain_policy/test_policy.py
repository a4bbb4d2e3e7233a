"""A plain policy computes what torch and Stable-Baselines3 compute, and refuses what it cannot hold."""

import dataclasses
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from hyperrl.errors import BoundsError, ConfigError, NonFiniteError, ShapeError, UnknownNameError
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.plain_policy import (
    ACTIVATIONS,
    ActionHead,
    DenseLayer,
    ObservationNormaliser,
    PlainPolicy,
    bounded,
)

TORCH = {
    "identity": nn.Identity(),
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
    "elu": nn.ELU(),
    "leaky_relu": nn.LeakyReLU(),
    "sigmoid": nn.Sigmoid(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "softplus": nn.Softplus(),
    "mish": nn.Mish(),
}


def make_policy(sizes=(3, 5, 4, 2), seed=0, **more):
    draw = np.random.default_rng(seed)
    weights = [draw.normal(size=(b, a)) for a, b in pairwise(sizes)]
    return PlainPolicy.from_arrays(weights, [draw.normal(size=b) for b in sizes[1:]], **more)


def test_every_activation_is_torchs():
    assert set(TORCH) == set(ACTIVATIONS)
    x = np.concatenate([np.linspace(-30, 30, 401), [0.0, 19.99, 20.01, -1e-8, 1e-8]])
    for name, module in TORCH.items():
        ours = ACTIVATIONS[name](x)
        np.testing.assert_allclose(
            ours, module(torch.from_numpy(x)).numpy(), rtol=1e-12, atol=1e-14, err_msg=name
        )
        assert ACTIVATIONS[name](x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("activation", ["relu", "tanh", "mish"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_are_those_of_torch(activation, dtype):
    policy = make_policy(activation=activation)
    modules = []
    for layer in policy.layers:
        linear = nn.Linear(layer.inputs, layer.outputs)
        linear.weight.data, linear.bias.data = torch.tensor(layer.weight), torch.tensor(layer.bias)
        modules += [linear, TORCH[layer.activation]]
    network = nn.Sequential(*modules).to(torch.float64 if dtype is np.float64 else torch.float32)
    x = np.random.default_rng(1).normal(size=(7, 3)).astype(dtype)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    actions = policy(x, dtype)
    assert actions.dtype == dtype
    np.testing.assert_allclose(actions, expected, rtol=1e-12 if dtype is np.float64 else 1e-4, atol=1e-6)


def test_normaliser_is_vec_normalizes():
    draw = np.random.default_rng(0)
    statistics = RunningMeanStd(shape=(4,))
    statistics.update(draw.normal(size=(100, 4)) * [1, 1e-5, 100, 0] + [0, 3, -50, 7])
    theirs = VecNormalize.__new__(VecNormalize)
    theirs.epsilon, theirs.clip_obs = 1e-8, 1.5
    x = draw.normal(size=(50, 4)) * [1, 1e-4, 100, 1e-3] + [0, 3, -50, 7]
    expected = theirs._normalize_obs(x, statistics)
    ours = ObservationNormaliser(statistics.mean, statistics.var, 1e-8, 1.5)
    assert (np.abs(expected) == 1.5).mean() > 0.05  # the clip is active
    np.testing.assert_array_equal(ours(x), expected)
    np.testing.assert_array_equal(ours.clips(x), np.abs(ours.unclipped(x)) > 1.5)


def test_unscaling_and_clipping_are_those_of_predict():
    space = spaces.Box(np.float32([-0.3, 1.0]), np.float32([2.0, 1.5]))
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    squashed = bounded(space.low, space.high, "tanh", "unscale")(x)
    theirs = ActorCriticPolicy(space, space, lambda _: 1e-3)
    np.testing.assert_array_equal(squashed, theirs.unscale_action(np.tanh(x)))
    np.testing.assert_array_equal(bounded(space.low, space.high)(x), np.clip(x, space.low, space.high))


def test_smooth_limit_and_limited_mean():
    x = np.array([[-9.0, 0.5]])
    head = ActionHead(np.full(2, -1.5), np.full(2, 9.0), "scaled_tanh", "clip", scale=2.0, mean_clip=4.0)
    np.testing.assert_allclose(head(x), [[-1.5, 2 * np.tanh(0.25)]])
    assert ActionHead.unbounded(2)(x).tolist() == x.tolist()


def test_half_range_is_one_where_there_is_none():
    head = ActionHead(np.array([-2.0, -np.inf, 3.0]), np.array([4.0, 1.0, 3.0]))
    assert head.half_range.tolist() == [3.0, 1.0, 1.0]
    assert ActionHead.unbounded(2).half_range.tolist() == [1.0, 1.0]


def test_it_acts_in_rollouts_one_at_a_time_and_in_batches():
    policy = make_policy((3, 4, 1), head=bounded([-2.0], [2.0]))
    env = gym.make("Pendulum-v1", max_episode_steps=5)
    assert len(play_episodes(policy, env, [1, 2])) == 2
    batch = np.random.default_rng(0).normal(size=(6, 3))
    actions, state = policy.predict(batch, "state")
    assert actions.shape == (6, 1)
    assert actions.dtype == np.float32
    assert state == "state"
    assert policy.predict(batch[0])[0].shape == (1,)
    assert policy(batch.reshape(2, 3, 3)).shape == (2, 3, 1)


def test_sizes_and_parameters():
    policy = make_policy((18, 16, 16, 4))
    assert policy.sizes == (18, 16, 16, 4)
    assert policy.architecture == (16, 16)
    assert policy.parameters == 18 * 16 + 16 + 16 * 16 + 16 + 16 * 4 + 4
    assert make_policy((3, 2)).architecture == ()


def test_folding_is_exact_where_nothing_is_clipped():
    normaliser = ObservationNormaliser(np.array([1.0, -2.0, 0.5]), np.array([4.0, 0.01, 1.0]), clip=2.0)
    policy = make_policy(normaliser=normaliser, activation="tanh")
    draw = np.random.default_rng(3)
    x = normaliser.mean + normaliser.deviation * draw.uniform(-1.9, 1.9, size=(50, 3))
    folded = policy.fold_normaliser()
    assert folded.normaliser is None
    np.testing.assert_allclose(folded(x, np.float64), policy(x, np.float64), atol=1e-5)
    beyond = normaliser.mean + normaliser.deviation * 5
    assert np.abs(folded(beyond) - policy(beyond)).max() > 0.1
    assert folded.fold_normaliser() is folded


def test_fingerprint_changes_with_everything():
    policy = make_policy(
        normaliser=ObservationNormaliser(np.zeros(3), np.ones(3)), head=bounded([-1, -1], [1, 1])
    )
    changed = [
        make_policy(seed=1),
        dataclasses.replace(policy, normaliser=None),
        dataclasses.replace(policy, normaliser=ObservationNormaliser(np.zeros(3), np.ones(3), clip=5)),
        dataclasses.replace(policy, normaliser=ObservationNormaliser(np.zeros(3), np.ones(3), epsilon=1e-6)),
        dataclasses.replace(policy, head=bounded([-1, -1], [1, 2])),
        dataclasses.replace(policy, head=bounded([-1, -1], [1, 1], "tanh", "unscale")),
        dataclasses.replace(
            policy, layers=(dataclasses.replace(policy.layers[0], activation="elu"), *policy.layers[1:])
        ),
    ]
    assert len({policy.fingerprint, *(one.fingerprint for one in changed)}) == len(changed) + 1
    again = make_policy(
        normaliser=ObservationNormaliser(np.zeros(3), np.ones(3)), head=bounded([-1, -1], [1, 1])
    )
    assert again.fingerprint == policy.fingerprint


def test_nobody_changes_it_afterwards():
    weight = np.ones((2, 3))
    policy = PlainPolicy.from_arrays([weight], [np.zeros(2)])
    weight[:] = 7
    assert policy.layers[0].weight[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        policy.layers[0].weight[0, 0] = 2


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: DenseLayer(np.full((2, 3), np.nan), np.zeros(2)),
            NonFiniteError,
            r"element \[0, 0\] is nan",
        ),
        (lambda: DenseLayer(np.full((2, 3), 1e300), np.zeros(2)), NonFiniteError, "is inf"),
        (lambda: DenseLayer(np.ones((2, 3)), np.array([0, np.inf])), NonFiniteError, "bias"),
        (lambda: DenseLayer(np.ones((2, 3)), np.ones(3)), ShapeError, "2 rows"),
        (lambda: DenseLayer(np.ones(3), np.ones(3)), ShapeError, "2 dimensions"),
        (lambda: DenseLayer(np.ones((2, 3)), np.ones(2), "rleu"), UnknownNameError, "did you mean 'relu'"),
        (lambda: ObservationNormaliser(np.zeros(2), np.ones(3)), ShapeError, "got 2 and 3"),
        (lambda: ObservationNormaliser(np.zeros(2), -np.ones(2)), BoundsError, "at least 0"),
        (lambda: ObservationNormaliser(np.zeros(2), np.zeros(2), epsilon=0.0), BoundsError, "above 0"),
        (lambda: ObservationNormaliser(np.zeros(2), np.ones(2), clip=0.0), BoundsError, "clip"),
        (lambda: ObservationNormaliser(np.array([np.nan]), np.ones(1)), NonFiniteError, "mean"),
        (lambda: bounded([0], [np.inf], "tanh", "unscale"), BoundsError, "finite"),
        (lambda: bounded([1], [0]), BoundsError, "above"),
        (lambda: bounded([0], [1], "tnah"), UnknownNameError, "did you mean 'tanh'"),
        (lambda: ActionHead(np.zeros(1), np.ones(1), scale=0.0), BoundsError, "scale"),
        (lambda: make_policy(head=bounded([0], [1])), ShapeError, "2 outputs"),
        (
            lambda: make_policy(normaliser=ObservationNormaliser(np.zeros(2), np.ones(2))),
            ShapeError,
            "3 inputs",
        ),
        (
            lambda: PlainPolicy.from_arrays([np.ones((2, 3)), np.ones((1, 3))], [np.ones(2), np.ones(1)]),
            ShapeError,
            "2 outputs",
        ),
        (lambda: PlainPolicy.from_arrays([], []), ShapeError, "0 weights"),
        (lambda: make_policy()(np.zeros(4)), ShapeError, r"\[..., 3\]"),
        (lambda: make_policy()(np.array([0, np.nan, 0])), NonFiniteError, "NaN"),
        (lambda: make_policy()(np.full(3, 1e300)), NonFiniteError, "float32"),
        (lambda: make_policy()(np.array(["a", "b", "c"])), ConfigError, "numbers"),
        (lambda: make_policy()(np.zeros(3), np.float16), ConfigError, "float16"),
    ],
)
def test_refusals(make, error, words):
    with pytest.raises(error, match=words):
        make()
