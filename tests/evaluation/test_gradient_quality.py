"""Both gradients against closed forms and other ways to them, alone and in the whole protocol."""

from __future__ import annotations

import csv

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl.cli import main as cli
from hyperrl.config import RunConfig
from hyperrl.environments import make_env
from hyperrl.errors import (
    ConfigError,
    HyperRLError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
    UnsupportedEnvError,
)
from hyperrl.evaluation.gradient_quality import (
    GradientQualityConfig,
    UnsupportedModelError,
    cosine_similarity,
    critic_action_gradient,
    gradient_quality,
    least_squares_gradient,
)
from hyperrl.run import RunFolder
from hyperrl.run.checkpoint import save_checkpoint

GAMMA = 0.9
SLOPES = np.array([0.5, -1.0, 2.0])
LOW, HIGH = np.array([-2.0, -1.0, 0.0], np.float32), np.array([4.0, 1.0, 1.0], np.float32)


class SnapshotEnv(gym.Env):
    """The parts that both analytic tasks share: position x in R³, moved by the action."""

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = spaces.Box(LOW, HIGH)
        self.position = np.zeros(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.normal(size=3)
        return self.position.copy(), {}

    def snapshot_state(self):
        return self.position.copy()

    def restore_snapshot(self, snapshot):
        self.position = snapshot.copy()


class Integrator(SnapshotEnv):
    """x' = x + a with reward SLOPES·x': every return is linear in the held action."""

    def step(self, action):
        self.position = self.position + action
        return self.position.copy(), float(SLOPES @ self.position), False, False, {}


class Quadratic(SnapshotEnv):
    """One step with the reward -|a - x|², in the environment's units."""

    def step(self, action):
        return self.position.copy(), -float(np.sum((action - self.position) ** 2)), True, False, {}


class KnownCritic(th.nn.Module):
    """Q-functions given as functions of observations and environment actions; the first is Q1."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, obs, actions):
        low, high = th.as_tensor(LOW), th.as_tensor(HIGH)
        unscaled = low + 0.5 * (actions + 1) * (high - low)
        return tuple(function(obs.float(), unscaled) for function in self.functions)


def constant_actor(build, action=(0.2, -0.4, 0.6)):
    """Return a TD3 model whose policy ignores the observation, with `action` in the critic's units."""
    model = TD3("MlpPolicy", build(), gamma=GAMMA, seed=0, device="cpu", policy_kwargs={"net_arch": [8]})
    with th.no_grad():
        for parameter in model.actor.parameters():
            parameter.zero_()
        model.actor.mu[-2].bias.copy_(th.atanh(th.tensor(action)))
    return model


def minus_distance(obs, actions):
    return -((actions - obs) ** 2).sum(dim=1, keepdim=True)


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


def test_a_critic_with_the_true_quadratic_return_agrees_and_its_negative_disagrees():
    model = constant_actor(Quadratic)
    numbers = GradientQualityConfig(states=6, actions=12, noise_std=1e-3, hold_steps=1, max_start_step=0)
    model.critic = KnownCritic(minus_distance, lambda obs, actions: actions[:, :1])
    model.critic_target = model.critic
    result = gradient_quality(model, Quadratic, numbers)
    np.testing.assert_allclose(result.cosines, 1.0, atol=1e-4)
    half = (HIGH - LOW) / 2
    for state in result.states:
        np.testing.assert_allclose(state.actions[0], [0.2, -0.4, 0.6], atol=1e-6)
        np.testing.assert_allclose(state.estimated_gradient, state.critic_gradient, rtol=0.02, atol=0.02)
        # -|a - x|² = R at the policy's action, so the length of dR/da is 2 √(-R) in the environment's units.
        assert np.linalg.norm(state.critic_gradient / half) == pytest.approx(
            2 * np.sqrt(-state.returns[0]), rel=1e-5
        )
    model.critic = KnownCritic(lambda obs, actions: -minus_distance(obs, actions))
    np.testing.assert_allclose(gradient_quality(model, Quadratic, numbers).cosines, -1.0, atol=1e-4)
    assert gradient_quality(model, Quadratic, numbers).mean_cosine == pytest.approx(-1.0, abs=1e-4)


@pytest.mark.parametrize(("hold", "wrapped"), [(1, False), (3, False), (3, True), (50, False)])
def test_held_action_discount_and_bootstrap_against_the_closed_form(hold, wrapped):
    horizon, values = 12, np.array([[3.0, -2.0, 1.0], [4.0, -2.0, -1.0]])

    def build():
        return TimeLimit(Integrator(), horizon) if wrapped else Integrator()

    def linear(slope):
        return lambda obs, actions: obs @ th.tensor(slope, dtype=th.float32)[:, None]

    model = constant_actor(build)
    # Q1 of the critic differs from both target critics. The policy does not move along the difference of the
    # targets, so it is the first position that decides which of them is smaller.
    model.critic = KnownCritic(lambda obs, actions: actions @ th.ones(3, 1))
    model.critic_target = KnownCritic(linear(values[0]), linear(values[1]))
    numbers = GradientQualityConfig(
        states=8,
        actions=8,
        noise_std=0.005,
        hold_steps=hold,
        time_limit=1000 if wrapped else horizon,
        max_start_step=9,
    )
    half = (HIGH - LOW) / 2
    both = set()
    for state in gradient_quality(model, build, numbers).states:
        length = horizon - state.step
        weight = sum(GAMMA**k * min(k + 1, hold) for k in range(length))
        moved = min(length, hold) * GAMMA**length
        expected = [half * (weight * SLOPES + moved * value) for value in values]
        nearest = int(np.argmin([np.abs(state.estimated_gradient - one).max() for one in expected]))
        np.testing.assert_allclose(state.estimated_gradient, expected[nearest], rtol=5e-3, atol=5e-3)
        np.testing.assert_allclose(state.critic_gradient, half, rtol=1e-6)
        assert np.abs(state.actions).max() <= 1.0
        both.add(nearest)
    assert both == {0, 1}, "the test must see both target critics as the smaller one"


def test_the_return_is_the_discounted_sum_with_the_bootstrap():
    model = constant_actor(Integrator)
    model.critic = KnownCritic(lambda obs, actions: actions @ th.ones(3, 1))
    model.critic_target = KnownCritic(
        lambda obs, actions: 7.0 + 0 * obs[:, :1], lambda obs, actions: 9.0 + 0 * obs[:, :1]
    )
    env = Integrator()
    numbers = GradientQualityConfig(states=1, actions=4, hold_steps=2, time_limit=5, max_start_step=0)
    state = gradient_quality(model, env, numbers).states[0]
    rng = np.random.default_rng(0)
    rng.integers(1)
    position, _ = Integrator().reset(seed=int(rng.integers(2**31)))
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    policy = middle + half * np.array([0.2, -0.4, 0.6])
    for action, found in zip(state.actions, state.returns, strict=True):
        held, x, total = middle + half * action, position.copy(), 7.0 * GAMMA**5
        for step in range(5):
            x = x + (held if step < 2 else policy)
            total += GAMMA**step * SLOPES @ x
        assert found == pytest.approx(total, rel=1e-5)


def test_vec_normalize_scales_rewards_and_observations():
    model = constant_actor(Integrator)
    vec_normalize = VecNormalize(DummyVecEnv([Integrator]), clip_reward=1e6, epsilon=0.0)
    vec_normalize.ret_rms.var = np.float64(16.0)
    vec_normalize.obs_rms.mean, vec_normalize.obs_rms.var = (
        np.array([1.0, 2.0, 3.0]),
        np.array([4.0, 4.0, 4.0]),
    )
    model.critic = KnownCritic(lambda obs, actions: (obs * actions).sum(dim=1, keepdim=True))
    model.critic_target = KnownCritic(lambda obs, actions: 0 * obs[:, :1])
    numbers = GradientQualityConfig(states=3, actions=6, time_limit=4, max_start_step=0)
    raw = gradient_quality(model, Integrator, numbers)
    normalised = gradient_quality(model, Integrator, numbers, vec_normalize=vec_normalize)
    half = (HIGH - LOW) / 2
    for one, other in zip(raw.states, normalised.states, strict=True):
        np.testing.assert_allclose(other.returns, one.returns / 4.0, rtol=1e-5, atol=1e-5)
        position = one.critic_gradient / half
        np.testing.assert_allclose(
            other.critic_gradient / half, (position - [1, 2, 3]) / 2, rtol=1e-4, atol=1e-5
        )
    model.set_env(vec_normalize)
    from_model = gradient_quality(model, Integrator, numbers)
    np.testing.assert_array_equal(from_model.cosines, normalised.cosines)


@pytest.mark.parametrize("algorithm", [TD3, SAC])
def test_a_mujoco_task_is_deterministic_by_seed_and_leaves_the_model_alone(algorithm):
    model = algorithm(
        "MlpPolicy", make_env("Reacher-v5"), seed=0, device="cpu", policy_kwargs={"net_arch": [16]}
    )
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.policy.set_training_mode(True)
    first = gradient_quality(model, "Reacher-v5", GradientQualityConfig(states=3, actions=5))
    again = gradient_quality(model, "Reacher-v5", GradientQualityConfig(states=3, actions=5))
    other = gradient_quality(model, "Reacher-v5", GradientQualityConfig(states=3, actions=5, seed=1))
    for one, two in zip(first.states, again.states, strict=True):
        np.testing.assert_array_equal(one.returns, two.returns)
        np.testing.assert_array_equal(one.critic_gradient, two.critic_gradient)
    assert not np.array_equal(first.cosines, other.cosines)
    assert model.policy.training
    assert all(th.equal(before[name], value) for name, value in model.policy.state_dict().items())
    low, high = first.confidence_interval
    assert low <= first.mean_cosine <= high
    assert first.mean_cosine == pytest.approx(np.mean(first.cosines))
    assert not first.underdetermined
    assert all(state.step < 50 for state in first.states)


def test_the_estimate_is_the_derivative_of_the_simulated_return():
    env = make_env("InvertedPendulum-v5")
    # One smooth critic: a kink between the actions would make the slope depend on how they are spread.
    kwargs = {"net_arch": [16], "activation_fn": th.nn.Tanh, "n_critics": 1}
    model = TD3("MlpPolicy", env, seed=1, device="cpu", policy_kwargs=kwargs)
    numbers = GradientQualityConfig(
        states=2, actions=7, noise_std=1e-3, hold_steps=1, time_limit=3, max_start_step=0
    )
    result = gradient_quality(model, "InvertedPendulum-v5", numbers)
    rng = np.random.default_rng(0)
    for state in result.states:
        rng.integers(1)
        reset_seed = int(rng.integers(2**31))
        rng.standard_normal((7, 1))

        def replay(action, reset_seed=reset_seed):
            observation, _ = env.reset(seed=reset_seed)
            total = 0.0
            for step in range(3):
                chosen = np.array([3.0 * action], np.float32) if step == 0 else model.predict(observation)[0]
                observation, reward, *_ = env.step(chosen)
                total += model.gamma**step * float(reward)
            tensor = th.tensor(observation[None])
            values = model.critic_target(tensor, model.actor(tensor))
            return total + model.gamma**3 * values[0].item()

        centre = state.actions[0, 0]
        slope = (replay(centre + 1e-2) - replay(centre - 1e-2)) / 2e-2
        assert state.estimated_gradient[0] == pytest.approx(slope, rel=0.05, abs=1e-3)


def test_one_environment_used_alone_gives_what_several_side_by_side_give():
    model = constant_actor(Integrator)
    numbers = GradientQualityConfig(states=3, actions=6, time_limit=8, max_start_step=4)
    alone = gradient_quality(model, Integrator(), numbers)
    side_by_side = gradient_quality(model, Integrator, numbers)
    for one, other in zip(alone.states, side_by_side.states, strict=True):
        np.testing.assert_allclose(one.returns, other.returns, rtol=1e-6)


def test_zero_gradients_are_counted_not_averaged():
    model = constant_actor(Quadratic)
    model.critic = KnownCritic(lambda obs, actions: 0 * actions[:, :1])
    result = gradient_quality(model, Quadratic, GradientQualityConfig(states=2, actions=4, max_start_step=0))
    assert result.undefined == 2
    assert np.isnan(result.mean_cosine)
    assert np.isnan(result.confidence_interval).all()
    model.critic = KnownCritic(minus_distance)
    few = gradient_quality(model, Quadratic, GradientQualityConfig(states=2, actions=3, max_start_step=0))
    assert few.underdetermined
    assert few.undefined == 0


def test_start_states_are_spread_over_the_steps_that_the_random_policy_reaches():
    class Short(Integrator):
        """Episodes of four steps: states at the steps 0 to 3 exist."""

        def reset(self, *, seed=None, options=None):
            self.count = 0
            return super().reset(seed=seed)

        def step(self, action):
            self.count += 1
            observation, reward, *_ = super().step(action)
            return observation, reward, self.count == 4, False, {}

        def snapshot_state(self):
            return self.position.copy(), self.count

        def restore_snapshot(self, snapshot):
            self.position, self.count = snapshot[0].copy(), snapshot[1]

    model = constant_actor(Short)
    result = gradient_quality(model, Short(), GradientQualityConfig(states=200, actions=2, max_start_step=30))
    counts = np.bincount([state.step for state in result.states])
    assert len(counts) == 4
    assert counts.min() > 25


def test_non_finite_critics_stop_with_their_name():
    model = constant_actor(Quadratic)
    model.critic = KnownCritic(lambda obs, actions: actions.sum(dim=1, keepdim=True) * float("nan"))
    with pytest.raises(NonFiniteError, match="TD3's critic is not finite"):
        gradient_quality(model, Quadratic, GradientQualityConfig(states=1, max_start_step=0))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"states": 0}, "states must be a whole number of at least 1"),
        ({"actions": 1}, "actions must be a whole number of at least 2"),
        ({"noise_std": 0.0}, "noise_std must be a number above 0"),
        ({"noise_std": float("nan")}, "noise_std must be"),
        ({"hold_steps": 1.5}, "hold_steps must be a whole number"),
        ({"confidence": 95}, "confidence must be a number from"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_numbers_out_of_range_are_refused(setting, words):
    with pytest.raises(ConfigError, match=words):
        GradientQualityConfig(**setting)


def test_models_and_environments_that_do_not_fit_are_refused():
    with pytest.raises(UnsupportedModelError, match=r"as TD3 and SAC have them; PPO has none"):
        gradient_quality(PPO("MlpPolicy", Integrator(), device="cpu", n_steps=8, batch_size=8), Integrator())
    model = constant_actor(Integrator)
    with pytest.raises(UnknownNameError, match=r"did you mean 'HalfCheetah-v5'"):
        gradient_quality(model, "HalfCheeta-v5")
    with pytest.raises(UnsupportedEnvError, match="the agent acts in Box"):
        gradient_quality(model, "Reacher-v5")
    with pytest.raises(UnsupportedEnvError, match="got a DummyVecEnv"):
        gradient_quality(model, DummyVecEnv([Integrator]))

    class Wider(Integrator):
        def __init__(self):
            super().__init__()
            self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float64)

    with pytest.raises(UnsupportedEnvError, match="the agent observes Box"):
        gradient_quality(model, Wider())

    class Doomed(Integrator):
        def step(self, action):
            return self.position.copy(), 0.0, True, False, {}

    with pytest.raises(UnsupportedEnvError, match=r"none of 3 episodes .* below 1000"):
        gradient_quality(model, Doomed(), GradientQualityConfig(max_attempts=3))

    class Vector(th.nn.Module):
        def forward(self, obs, actions):
            return actions[None]

    model.critic = Vector()
    with pytest.raises(UnsupportedModelError, match="one Q-value per state and action"):
        critic_action_gradient(model, np.zeros((2, 3)), np.zeros((2, 3)))


def make_model_file(folder, algorithm=TD3):
    model = algorithm(
        "MlpPolicy", make_env("Reacher-v5"), seed=3, device="cpu", policy_kwargs={"net_arch": [16]}
    )
    model.save(folder / "model.zip")
    return model, str(folder / "model.zip")


def test_command_line_writes_what_the_function_returns(tmp_path, capsys):
    model, file = make_model_file(tmp_path)
    arguments = ["--agent", "td3", "--env", "Reacher-v5", "--trust-pickle", "--states", "3", "--actions", "4"]
    assert cli(["gradient-quality", file, *arguments, "--seed", "2"]) == 0
    printed = capsys.readouterr().out
    table = tmp_path / "eval" / "gradient_quality.csv"
    assert str(table) in printed
    expected = gradient_quality(model, "Reacher-v5", GradientQualityConfig(states=3, actions=4, seed=2))
    assert f"mean cosine {expected.mean_cosine:+.3f} (95 % interval" in printed
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3
    for row, state in zip(rows, expected.states, strict=True):
        assert (row["env"], row["agent"], row["run_seed"], row["seed"]) == ("Reacher-v5", "td3", "3", "2")
        assert int(row["episode_step"]) == state.step
        assert float(row["cosine"]) == state.cosine
        assert float(row["critic_norm"]) == state.critic_norm
        assert float(row["policy_return"]) == state.returns[0]
        for axis in range(2):
            assert float(row[f"critic_gradient_{axis}"]) == state.critic_gradient[axis]
            assert float(row[f"estimated_gradient_{axis}"]) == state.estimated_gradient[axis]


def test_command_line_says_when_there_are_too_few_actions(tmp_path, capsys):
    _, file = make_model_file(tmp_path, SAC)
    arguments = ["--agent", "sac", "--env", "Reacher-v5", "--trust-pickle", "--states", "1", "--actions", "2"]
    assert cli(["gradient-quality", file, *arguments, "--out", str(tmp_path / "few.csv")]) == 0
    assert (
        "2 actions cannot determine 2 gradient components: use --actions 3 or more" in capsys.readouterr().out
    )
    assert (tmp_path / "few.csv").is_file()


def test_command_line_takes_the_normalisation_of_a_model_file(tmp_path, capsys):
    model, file = make_model_file(tmp_path)
    vec_normalize = VecNormalize(DummyVecEnv([lambda: make_env("Reacher-v5")]))
    vec_normalize.ret_rms.var = np.float64(25.0)
    vec_normalize.save(str(tmp_path / "normalize.pkl"))
    arguments = ["--agent", "td3", "--env", "Reacher-v5", "--trust-pickle", "--states", "2", "--actions", "4"]
    assert (
        cli(["gradient-quality", file, *arguments, "--vec-normalize", str(tmp_path / "normalize.pkl")]) == 0
    )
    numbers = GradientQualityConfig(states=2, actions=4)
    expected = gradient_quality(model, "Reacher-v5", numbers, vec_normalize=vec_normalize)
    assert f"mean cosine {expected.mean_cosine:+.3f}" in capsys.readouterr().out
    assert expected.mean_cosine != gradient_quality(model, "Reacher-v5", numbers).mean_cosine


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{file}"], "can run code when it is loaded: add --trust-pickle"),
        (["{file}", "--trust-pickle"], "add --agent and --env"),
        (["{file}", "--trust-pickle", "--agent", "td4", "--env", "Reacher-v5"], "did you mean 'td3'?"),
        (["{file}", "--trust-pickle", "--agent", "td3", "--env", "Reachr-v5"], "did you mean 'Reacher-v5'?"),
        (
            ["{file}", "--trust-pickle", "--agent", "td3", "--env", "Hopper-v5"],
            "cannot be loaded as td3 on Hopper-v5",
        ),
        (["{folder}/no.zip"], "there is no file"),
        (["{folder}/nowhere"], "there is no folder"),
        (["{folder}"], "holds no run"),
        (["{folder}", "--agent", "td3"], "--agent is for a .zip file"),
        (["{folder}", "--states", "0"], "states must be a whole number of at least 1"),
        (["{folder}", "--states", "many"], "see hyperrl gradient-quality --help"),
        ([], "see hyperrl gradient-quality --help"),
        (
            ["{file}", "--trust-pickle", "--agent", "td3", "--env", "Reacher-v5", "--out", "{folder}"],
            "is a folder: give the name of a .csv file",
        ),
        (
            ["{file}", "--trust-pickle", "--agent", "td3", "--env", "Reacher-v5", "--out", "{file}/x.csv"],
            "cannot be written",
        ),
    ],
)
def test_command_line_refuses_in_one_sentence_and_writes_nothing(tmp_path, capsys, arguments, words):
    _, file = make_model_file(tmp_path)
    filled = [part.format(file=file, folder=tmp_path) for part in arguments]
    assert cli(["gradient-quality", *filled]) == 2
    output = capsys.readouterr()
    assert words in output.err
    assert "Traceback" not in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_command_line_refuses_a_file_that_is_no_model(tmp_path, capsys):
    (tmp_path / "noise.zip").write_bytes(b"noise")
    arguments = ["--agent", "td3", "--env", "Reacher-v5", "--trust-pickle"]
    assert cli(["gradient-quality", str(tmp_path / "noise.zip"), *arguments]) == 2
    assert "cannot be loaded as td3 on Reacher-v5" in capsys.readouterr().err


def test_command_line_measures_a_run_folder(tmp_path, capsys):
    config = RunConfig(agent="td3", env="Reacher-v5", out=str(tmp_path / "run"), seed=4)
    folder = RunFolder.create(config)
    model = TD3("MlpPolicy", make_env("Reacher-v5"), seed=4, device="cpu")
    save_checkpoint(model, folder.checkpoints / "final")
    assert cli(["gradient-quality", str(folder.path), "--states", "2", "--actions", "3"]) == 0
    expected = gradient_quality(model, "Reacher-v5", GradientQualityConfig(states=2, actions=3))
    assert f"mean cosine {expected.mean_cosine:+.3f}" in capsys.readouterr().out
    with (folder.evaluation / "gradient_quality.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["cosine"]) for row in rows] == pytest.approx(expected.cosines.tolist())
    assert {row["checkpoint"] for row in rows} == {"final"}
