"""Both gradients and their angle, each alone, against closed forms and other ways to them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DDPG, SAC, TD3

from hyperrl.errors import HyperRLError, NonFiniteError, ShapeError
from hyperrl.evaluation.gradient_quality import (
    cosine_similarity,
    critic_action_gradient,
    least_squares_gradient,
)
from tests.evaluation.analytic_tasks import Integrator

samples = st.integers(2, 12).flatmap(
    lambda n: st.integers(1, 5).flatmap(
        lambda a: st.tuples(st.just(n), st.just(a), st.integers(0, 2**31), st.floats(1e-3, 1e3))
    )
)


@given(samples)
@settings(max_examples=60, deadline=None)
def test_least_squares_is_the_explicit_pairwise_solution(sample):
    n, dims, seed, scale = sample
    rng = np.random.default_rng(seed)
    actions, returns = rng.uniform(-1, 1, (n, dims)), scale * rng.normal(size=n)
    differences = (actions[:, None] - actions[None, :]).reshape(n * n, dims)
    gaps = (returns[:, None] - returns[None, :]).reshape(n * n)
    explicit = th.linalg.lstsq(th.tensor(differences), th.tensor(gaps)[:, None], driver="gelsd").solution[
        :, 0
    ]
    found = least_squares_gradient(actions, returns)
    np.testing.assert_allclose(
        found, explicit.numpy(), rtol=1e-6, atol=1e-6 * scale * np.abs(found).max(initial=1.0)
    )


def test_least_squares_is_the_closed_form_with_an_intercept():
    rng = np.random.default_rng(0)
    actions, returns = rng.uniform(-1, 1, (15, 6)), 100 + rng.normal(size=15)
    design = np.column_stack([np.ones(15), actions])
    closed = np.linalg.solve(design.T @ design, design.T @ returns)[1:]
    np.testing.assert_allclose(least_squares_gradient(actions, returns), closed, rtol=1e-10)


def test_least_squares_recovers_a_linear_function_and_ignores_its_constant():
    rng = np.random.default_rng(1)
    slope, actions = rng.normal(size=4), rng.uniform(-1, 1, (9, 4))
    np.testing.assert_allclose(least_squares_gradient(actions, actions @ slope + 1e4), slope, rtol=1e-7)


def test_too_few_actions_give_the_projection_of_smallest_norm():
    rng = np.random.default_rng(2)
    slope, actions = rng.normal(size=5), rng.uniform(-1, 1, (3, 5))
    centred = actions - actions.mean(axis=0)
    _, _, basis = np.linalg.svd(centred)
    found = least_squares_gradient(actions, actions @ slope)
    np.testing.assert_allclose(found, basis[:2].T @ (basis[:2] @ slope), rtol=1e-9)


@pytest.mark.parametrize(
    ("actions", "returns", "error", "words"),
    [
        (np.zeros((3, 2)), np.zeros(2), ShapeError, r"\(3, 2\) and \(2,\)"),
        (np.zeros(3), np.zeros(3), ShapeError, r"\[n, A\] and \[n\]"),
        (np.zeros((1, 2)), np.zeros(1), ShapeError, "n >= 2"),
        (np.zeros((2, 1)), np.array([0.0, np.nan]), NonFiniteError, "returns of a gradient estimate"),
        (np.array([[0.0], [np.inf]]), np.zeros(2), NonFiniteError, "actions of a gradient estimate"),
    ],
)
def test_bad_samples_are_refused(actions, returns, error, words):
    with pytest.raises(error, match=words) as caught:
        least_squares_gradient(actions, returns)
    assert isinstance(caught.value, HyperRLError)
    assert isinstance(caught.value, ValueError)


def test_cosine_of_known_angles_at_every_scale():
    for scale in (1e-300, 1e-160, 1.0, 1e160, 1e300):
        assert cosine_similarity([scale, 0.0], [1.0, 1.0]) == pytest.approx(np.sqrt(0.5))
        assert cosine_similarity([scale, scale], [-scale, -scale]) == pytest.approx(-1.0)
        assert cosine_similarity([scale, scale], [1.0, -1.0]) == pytest.approx(0.0)
    assert np.isnan(cosine_similarity([0.0, 0.0], [1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\)"):
        cosine_similarity([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("algorithm", [TD3, SAC, DDPG])
def test_critic_gradient_is_the_product_of_the_layers_jacobians(algorithm):
    kwargs = {"net_arch": [16, 16], "activation_fn": th.nn.Tanh}
    model = algorithm("MlpPolicy", Integrator(), seed=0, device="cpu", policy_kwargs=kwargs)
    rng = np.random.default_rng(0)
    observations, actions = rng.normal(size=(5, 3)), rng.uniform(-1, 1, (5, 3))
    layers = [layer for layer in model.critic.q_networks[0] if isinstance(layer, th.nn.Linear)]
    weights = [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in layers
    ]
    expected = np.empty((5, 3))
    for row in range(5):
        value = np.concatenate([observations[row], actions[row]]).astype(np.float32).astype(np.float64)
        jacobian = np.eye(6)
        for weight, bias in weights[:-1]:
            value = np.tanh(weight @ value + bias)
            jacobian = (1 - value**2)[:, None] * (weight @ jacobian)
        expected[row] = (weights[-1][0] @ jacobian)[0, 3:]
    np.testing.assert_allclose(
        critic_action_gradient(model, observations, actions), expected, rtol=1e-4, atol=1e-7
    )


def test_critic_gradient_leaves_the_model_as_it_was():
    model = SAC("MlpPolicy", Integrator(), seed=0, device="cpu", policy_kwargs={"net_arch": [8]})
    model.policy.set_training_mode(True)
    critic_action_gradient(model, np.zeros((2, 3)), np.zeros((2, 3)))
    assert model.policy.training
    assert all(parameter.grad is None for parameter in model.policy.parameters())


class Pixels(gym.Env):
    """Images with the channels last, alone or beside a vector."""

    def __init__(self, dictionary):
        image = spaces.Box(0, 255, (36, 40, 3), np.uint8)
        vector = spaces.Box(-1, 1, (4,), np.float32)
        self.observation_space = spaces.Dict(image=image, vector=vector) if dictionary else image
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("algorithm", [TD3, SAC])
def test_critic_gradient_of_images_and_dicts(dictionary, algorithm):
    policy = "MultiInputPolicy" if dictionary else "CnnPolicy"
    model = algorithm(
        policy, Pixels(dictionary), seed=0, device="cpu", buffer_size=10, policy_kwargs={"net_arch": [16]}
    )
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 36, 40, 3), dtype=np.uint8)
    vector = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
    actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
    ready = th.tensor(np.moveaxis(image, 3, 1) / 255.0, dtype=th.float32)
    extractor, network = model.critic.features_extractor, model.critic.q_networks[0]
    features = extractor({"image": ready, "vector": th.tensor(vector)} if dictionary else ready)
    first, last = network[0], network[2]
    hidden = th.cat([features, th.tensor(actions)], dim=1) @ first.weight.T + first.bias
    expected = ((hidden > 0) * last.weight) @ first.weight[:, -2:]
    observations = {"image": image, "vector": vector} if dictionary else image
    found = critic_action_gradient(model, observations, actions)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-7)
    assert np.abs(found).max() > 1e-4
