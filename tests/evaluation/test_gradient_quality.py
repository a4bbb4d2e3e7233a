"""The whole protocol on tasks whose returns are known, and on MuJoCo's against other ways to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl.environments import make_env
from hyperrl.evaluation.gradient_quality import GradientQualityConfig, gradient_quality
from tests.evaluation.analytic_tasks import (
    GAMMA,
    HIGH,
    LOW,
    SLOPES,
    Integrator,
    KnownCritic,
    Quadratic,
    constant_actor,
    minus_distance,
)


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
