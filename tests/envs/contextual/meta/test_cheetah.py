"""The cheetah of meta-learning beside formulas of MuJoCo's state."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from hyperrl.environments import is_native, make_env
from hyperrl.testing import check_context_env
from hyperrl_envs.contextual import suite_of
from tests.envs.contextual.meta.episodes import moments
from tests.envs.contextual.native.pairs import assert_same, assert_same_steps, both, random_actions

DIRECTION, VELOCITY, MEDIUM = (f"hyperrl/HalfCheetah{name}-v0" for name in ("Dir", "Vel", "VelMedium"))


@pytest.mark.parametrize(
    ("env_id", "context"),
    [(DIRECTION, 1.0), (DIRECTION, -1.0), (VELOCITY, 0.0), (VELOCITY, 2.2), (MEDIUM, 2.9)],
)
def test_rewards_and_observations_are_those_of_the_formulas(env_id, context):
    for moment in moments(env_id, [context]):
        velocity = (moment.after.qpos[0] - moment.before.qpos[0]) / 0.05
        cost = 0.05 * sum(float(part) ** 2 for part in moment.action)
        wanted = context * velocity if env_id == DIRECTION else -abs(velocity - context)
        assert moment.reward == pytest.approx(wanted - cost, abs=1e-6)
        torso = moment.after.body("torso").xpos
        expected = [*moment.after.qpos[1:], *moment.after.qvel, *torso]
        assert moment.observation == pytest.approx(expected, rel=1e-6)
        assert moment.observation.shape == (20,)
        assert not moment.terminated
    # Where it is now is at most one simulation step away from what it sees.
    assert abs(torso[0] - moment.after.qpos[0]) < 0.01 * (abs(moment.after.qvel[0]) + 5)


def test_episodes_have_200_steps_or_as_many_as_are_asked_for():
    for settings, steps in (({}, 200), ({"max_episode_steps": 7}, 7)):
        for env_id in (DIRECTION, VELOCITY, MEDIUM):
            env = make_env(env_id, settings)
            env.reset(seed=0)
            found = [env.step(np.zeros(6, np.float32))[2:4] for _ in range(steps)]
            assert found == [(False, False)] * (steps - 1) + [(False, True)]


def test_contexts_are_normalised_by_the_declared_range_and_by_nothing_that_was_drawn():
    for n_train in (None, 1, 2, 100):
        plan = suite_of(MEDIUM).plan(n_train=n_train, n_test=30, split_seed=3)
        assert plan.space.normalise([[0.0], [1.25], [2.5], [3.0]])[:, 0] == pytest.approx([-1, 0, 1, 1.4])
        tests = plan.splits.contexts("extrapolation")[:, 0]
        assert len(tests) == 30
        assert ((tests > 2.5) & (tests <= 3)).all()
        assert (plan.space.normalise(tests[:, None]) > 1).all()
    only_backward = suite_of(DIRECTION).plan(split="points", points=[[-1.0]])
    assert only_backward.space.normalise([-1.0]) == [-1.0]
    env = make_env(MEDIUM)
    observation, _ = env.reset(options={"context": [3.0]})
    assert observation["context"] == pytest.approx([1.4])
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("env_id", [DIRECTION, VELOCITY, MEDIUM])
def test_all_promises_of_contexts_are_kept(env_id):
    check_context_env(gym.make(env_id), reference=suite_of(env_id).make_base())


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        (DIRECTION, {"max_episode_steps": 15}),
        (MEDIUM, {"max_episode_steps": 15, "append": "flat", "n_train": 9, "sampler": "round_robin"}),
        (VELOCITY, {"max_episode_steps": 15, "ctrl_cost_weight": 0.1, "ranges": {"velocity": [0, 2]}}),
    ],
)
def test_together_they_are_what_they_are_one_by_one(env_id, settings):
    dummy, native = both(env_id, 3, **settings)
    assert is_native(env_id, settings)
    assert_same(native.reset(), dummy.reset())
    ends, contexts = assert_same_steps(dummy, native, random_actions(dummy, 50))
    assert ends == 9
    assert len(contexts) == 2 if env_id == DIRECTION else len(contexts) >= 4
