"""Navigation in the plane beside a point that is moved by hand, and many points beside one."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env as stable_baselines

from hyperrl.environments import is_native, make_env, make_vec_env
from hyperrl.errors import ContextError, UnknownNameError
from hyperrl.testing import check_context_env
from hyperrl_envs.contextual import suite_of
from hyperrl_envs.contextual.native import make_contextual
from tests.envs.contextual.native.pairs import assert_same, assert_same_steps, both, random_actions

DENSE, SPARSE = "hyperrl/Navigation2D-v0", "hyperrl/SparseNavigation2D-v0"
ALL = ["goal_x", "goal_y", "sign_x", "sign_y", "swap"]


def make_contextual_of(env_id, settings):
    return make_contextual(env_id, 2, 0, **settings)


def by_hand(place, action, goal, signs=(1, 1), swap=0):
    x, y = (max(-1.0, min(1.0, float(part))) for part in action)
    if swap:
        x, y = y, x
    place = (place[0] + 0.1 * signs[0] * x, place[1] + 0.1 * signs[1] * y)
    return place, math.dist(place, goal)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 3.0, -1.2])
@pytest.mark.parametrize("env_id", [DENSE, SPARSE])
def test_rewards_and_ends_are_those_of_a_point_moved_by_hand(env_id, angle):
    env = make_env(env_id, {"fixed": {"angle": angle}})
    goal, place = (math.cos(angle), math.sin(angle)), (0.0, 0.0)
    observation, _ = env.reset(seed=0)
    assert observation["observation"].tolist() == [0, 0]
    generator, rewarded, ended = np.random.default_rng(0), 0, False
    for step in range(100 if env_id == DENSE else 20):
        # Towards the goal with some noise, further than one step may go at first.
        action = 10 * (np.array(goal) - place) + generator.normal(size=2) * 0.05 * (step < 12)
        place, distance = by_hand(place, np.float32(action), goal)
        observation, reward, ended, truncated, _ = env.step(action.astype(np.float32))
        assert observation["observation"] == pytest.approx(place, abs=1e-6)
        is_there = all(abs(one - other) < 0.01 for one, other in zip(place, goal, strict=True))
        if env_id == DENSE:
            assert (reward, ended) == (pytest.approx(-distance), is_there)
        else:
            assert reward == (pytest.approx(1 - distance) if distance <= 0.2 else 0)
            assert not ended
            rewarded += reward > 0.8
        if ended or truncated:
            break
    assert ended if env_id == DENSE else (truncated and step == 19 and 2 < rewarded < 18)


def test_contexts_turn_and_exchange_the_axes_of_actions():
    generator = np.random.default_rng(1)
    env = make_env(DENSE, {"context": ALL})
    for _ in range(20):
        goal, signs = generator.uniform(-2, 2, 2), generator.choice([-1, 1], 2)
        swap, place = int(generator.integers(2)), (0.0, 0.0)
        env.reset(options={"context": [*goal, *signs, swap]})
        for action in generator.uniform(-1.5, 1.5, (5, 2)).astype(np.float32):
            place, distance = by_hand(place, action, goal, signs, swap)
            observation, reward, *_ = env.step(action)
            assert observation["observation"] == pytest.approx(place, abs=1e-6)
            assert reward == pytest.approx(-distance)


def test_goals_are_on_the_half_circle_or_in_the_squares_that_were_published():
    splits = suite_of(DENSE).plan(n_train=80, n_test=20).splits
    angles = splits.contexts("train")[:, 0]
    assert (angles >= 0).all()
    assert (angles <= math.pi).all()
    assert (len(angles), len(splits.contexts("interpolation"))) == (80, 20)
    beyond = splits.contexts("extrapolation")[:, 0]
    assert (np.sin(beyond) < 0).all()  # The lower half.
    plan = suite_of(DENSE).plan(
        context=["goal_x", "goal_y"], ranges={"goal_x": [-0.5, 0.5], "goal_y": [-0.5, 0.5]}, n_train=50
    )
    goals = plan.splits.contexts("train")
    assert 0.45 < np.abs(goals).max() <= 0.5
    assert np.abs(plan.space.normalise(goals)).max() <= 1


@pytest.mark.parametrize("context", [["angle", "goal_x", "goal_y"], ["goal_x"], ["goal_y", "swap"]])
def test_half_a_goal_and_two_goals_are_refused(context):
    with pytest.raises(ContextError, match="by angle alone or by goal_x and goal_y together, got"):
        suite_of(DENSE).plan(context=context)


@pytest.mark.parametrize("build", [make_env, lambda *given: make_vec_env(*given, 2, 0), make_contextual_of])
def test_arguments_that_there_are_not_are_named(build):
    with pytest.raises(
        UnknownNameError, match=r"argument of hyperrl/Navigation2D-v0 'spilt', did you mean 'split'"
    ):
        build(DENSE, {"spilt": "box"})


@pytest.mark.parametrize("settings", [{}, {"context": ALL}, {"n_train": 10, "n_test": 5, "append": "flat"}])
@pytest.mark.parametrize("env_id", [DENSE, SPARSE])
def test_all_promises_of_contexts_are_kept(env_id, settings):
    # Straight to the default goal: random steps hardly find it.
    env = gym.make(env_id, **settings)
    check_context_env(env, reference=suite_of(env_id).make_base(), actions=[[1.0, 0.1]])


@pytest.mark.parametrize("env_id", [DENSE, SPARSE])
@pytest.mark.parametrize(
    "settings",
    [{"context": ALL}, {"n_train": 7, "sampler": "round_robin", "max_episode_steps": 9}, {"mode": "hidden"}],
)
def test_together_they_are_what_they_are_one_by_one(env_id, settings):
    dummy, native = both(env_id, 5, **settings)
    assert is_native(env_id, settings)
    assert_same(native.reset(), dummy.reset())
    for index in range(5):
        assert_same(native.reset_infos[index], dummy.reset_infos[index])
    actions = random_actions(dummy, 120)
    actions[50:] = np.abs(actions[50:])  # Some goals lie there.
    ends, contexts = assert_same_steps(dummy, native, actions)
    assert ends >= 5
    assert len(contexts) >= 7
    for venv in (dummy, native):
        venv.env_method(
            "set_fixed_context", {"goal_x": 0.3, "goal_y": 0.25} if "context" in settings else [0.5]
        )
    ends, _ = assert_same_steps(dummy, native, np.abs(random_actions(dummy, 230)))
    assert ends >= 10
    assert_same(native.get_attr("context"), dummy.get_attr("context"))
    assert_same(native.get_attr("state"), [env.unwrapped.state for env in dummy.envs])
    for mine, theirs in zip(native.get_attr("parameters"), dummy.get_attr("parameters"), strict=True):
        assert str(mine) == str({name: float(value) for name, value in theirs.items()})


def test_stable_baselines_can_build_what_cannot_be_drawn():
    env = stable_baselines("hyperrl/Navigation2D-v0", n_envs=2)
    assert env.num_envs == 2
    with pytest.raises(TypeError, match="render_mode"):
        gym.make("hyperrl/Navigation2D-v0", render_mode="rgb_array")
