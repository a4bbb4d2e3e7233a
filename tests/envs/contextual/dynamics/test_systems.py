"""The systems without a simulator, beside mechanics, complex numbers and Gymnasium's own."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from hyperrl.environments import make_env
from hyperrl.errors import BoundsError, UnknownNameError
from hyperrl_envs.contextual.dynamics.cart_pole import STEP, CartPole
from hyperrl_envs.contextual.dynamics.ode import Ode

CART_POLE, ODE = "hyperrl/ContextualCartPole-v0", "hyperrl/ContextualODE-v0"
ALL = ["gravity", "cart_mass", "pole_mass", "length", "force"]


def drawn_systems(n, seed=0):
    generator = np.random.default_rng(seed)
    space = make_env(CART_POLE, {"context": ALL}).get_wrapper_attr("context_space")
    contexts = generator.uniform(space.low, space.high, (n, 5))
    states = generator.uniform(-1, 1, (n, 4)) * [2, 3, 0.2, 3]
    return states, generator.uniform(-1, 1, (n, 1)), contexts


def test_the_carts_accelerations_solve_the_equations_of_motion():
    states, actions, contexts = drawn_systems(200)
    after = CartPole.advance(states, actions, dict(zip(ALL, contexts.T, strict=True))).states
    found = (after - states) / STEP
    for state, action, context, rates in zip(states, actions[:, 0], contexts, found, strict=True):
        _, velocity, angle, turning = state
        gravity, cart, pole, length, force = context
        # Lagrange's equations of a cart and a uniform rod of twice this length.
        inertia = np.array(
            [
                [cart + pole, pole * length * math.cos(angle)],
                [pole * length * math.cos(angle), 4 / 3 * pole * length**2],
            ]
        )
        forces = [
            force * action + pole * length * turning**2 * math.sin(angle),
            pole * gravity * length * math.sin(angle),
        ]
        accelerations = np.linalg.solve(inertia, forces)
        expected = [velocity, accelerations[0], turning, accelerations[1]]
        assert rates == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_batch_is_its_rows():
    states, actions, contexts = drawn_systems(30)
    batch = CartPole.advance(states, actions, dict(zip(ALL, contexts.T, strict=True)))
    for index in range(30):
        one = CartPole.advance(
            states[index : index + 1],
            actions[index : index + 1],
            dict(zip(ALL, contexts[index], strict=True)),
        )
        assert np.array_equal(one.states[0], batch.states[index])
        assert (one.rewards[0], one.terminated[0]) == (batch.rewards[index], batch.terminated[index])


@pytest.mark.parametrize(
    "context", [{}, {"pole_mass": 1.0, "cart_mass": 5.0, "length": 2.0, "gravity": 20.0}]
)
def test_full_pushes_are_gymnasiums(context):
    env = make_env(CART_POLE, {"context": ALL, "mode": "hidden", "fixed": context})
    other = gym.make("CartPole-v1").unwrapped
    env.reset(seed=0), other.reset(seed=0)
    values = env.get_wrapper_attr("context_space").as_dict(env.get_wrapper_attr("context"))
    other.gravity, other.length, other.force_mag = values["gravity"], values["length"], values["force"]
    other.masscart, other.masspole = values["cart_mass"], values["pole_mass"]
    # What follows from these: the trap of CARL.
    other.total_mass = other.masscart + other.masspole
    other.polemass_length = other.masspole * other.length
    assert other.total_mass == pytest.approx(6.0 if context else 1.1)
    other.state = tuple(env.unwrapped.state)
    for step in range(60):
        push = step % 3 == 0
        _, reward, terminated, _, _ = env.step(np.array([1.0 if push else -1.0], np.float32))
        _, expected, ended, _, _ = other.step(int(push))
        assert env.unwrapped.state == pytest.approx(np.array(other.state, float), abs=1e-12)
        assert (reward, terminated) == (expected, ended)
        if ended:
            break
    assert ended


@pytest.mark.parametrize(("c1", "c2"), [(1.0, 0.0), (-5.0, 0.0), (0.3, 2.0), (0.0, -7.0), (-20.0, 20.0)])
def test_the_ode_is_a_polynomial_of_a_complex_number(c1, c2):
    generator = np.random.default_rng(0)
    env = make_env(ODE, {"context": ["c1", "c2"], "mode": "hidden", "fixed": {"c1": c1, "c2": c2}})
    env.reset(seed=0)
    place = float(env.unwrapped.state[0])
    for _ in range(50):
        action = (generator.uniform(-1, 1, 2) * 0.05).astype(np.float32)
        push = 100 * complex(*action.astype(float))
        place = min(max(place + 0.01 * (c1 * push + c2 * push**2).real, -20), 20)
        env.step(action)
        assert env.unwrapped.state[0] == pytest.approx(place, abs=1e-12)


@pytest.mark.parametrize(
    ("place", "reward"),
    [
        (0.049, 1),
        (-0.06, 1 / 2),
        (0.15, 1 / 3),
        (-0.4, 1 / 4),
        (1.9, 0.05),
        (2.0, 0),
        (-20, 0),
        (0.05, 1 / 2),
    ],
)
def test_the_ode_rewards_being_near_zero(place, reward):
    result = Ode.advance(np.array([[place]]), np.zeros((1, 2)), {"c1": 1.0, "c2": 0.0})
    assert result.rewards[0] == pytest.approx(reward)
    assert not result.terminated[0]


def test_with_its_context_the_ode_is_solved_in_one_step():
    for c1 in (-5.0, -1.0, 1.0, 5.0):
        env = make_env(ODE, {"fixed": {"c1": c1}, "mode": "hidden"})
        observation, _ = env.reset(seed=3)
        total = 0.0
        for _ in range(200):
            *_, truncated, _ = result = env.step(np.array([-observation[0] / c1, 0.0]))
            observation = result[0]
            total += result[1]
        assert truncated
        assert total == 200


@pytest.mark.parametrize(("env_id", "steps"), [(CART_POLE, 500), (ODE, 200)])
def test_the_checker_has_nothing_to_say(env_id, steps):
    env = make_env(env_id)
    assert env.spec.max_episode_steps == steps
    check_env(env.unwrapped, skip_render_check=True)


def test_a_context_leaves_nothing_behind():
    env = make_env(CART_POLE, {"context": ALL})
    env.reset(seed=0, options={"context": {"gravity": 20.0, "pole_mass": 1.0}})
    assert env.unwrapped.parameters["pole_mass"] == 1.0
    env.reset(seed=0, options={"context": {"length": 2.0}})
    assert env.unwrapped.parameters == {**CartPole.nominal, "length": 2.0}


@pytest.mark.parametrize(
    ("context", "error"), [({"lenght": 1.0}, UnknownNameError), ({"length": 11.0}, BoundsError)]
)
def test_wrong_contexts_are_refused_and_change_nothing(context, error):
    env = make_env(CART_POLE)
    env.reset(seed=0, options={"context": {"length": 3.0}})
    with pytest.raises(error):
        env.reset(options={"context": context})
    assert env.unwrapped.parameters["length"] == 3.0


def test_the_published_points_train():
    env = make_env(CART_POLE, {"split": "points", "points": [[1.0], [4.0], [6.0]]})
    lengths = {float(env.reset()[1]["context"][0]) for _ in range(40)}
    assert lengths == {1.0, 4.0, 6.0}
