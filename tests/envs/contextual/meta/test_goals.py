"""Ant and Humanoid with the tasks of meta-learning beside formulas of MuJoCo's state."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest

from hyperrl.environments import is_native, make_env
from hyperrl.evaluation.zero_shot.view import ContextView
from hyperrl.sb3.contexts.observed import Observed
from hyperrl.testing import check_context_env
from hyperrl_envs.contextual import suite_of
from tests.envs.contextual.meta.episodes import moments
from tests.envs.contextual.native.pairs import assert_same, assert_same_steps, both, random_actions

DIR, LEGACY, VEL, POS, GOAL, HUMANOID = (
    f"hyperrl/{name}-v0" for name in ("AntDir", "AntDirLegacy", "AntVel", "AntPos", "AntGoal", "HumanoidDir")
)


def costs(moment):
    """What an action and contacts cost the ant, one number after the other."""
    control = 0.005 * sum(float(part) ** 2 for part in moment.action)
    contact = sum(min(max(force, -1), 1) ** 2 for force in moment.after.cfrc_ext.ravel().tolist())
    return control + 5e-4 * contact


def torso(data):
    return data.body("torso").xpos[:2].copy()


WANTED = {
    DIR: lambda m, c: np.dot((torso(m.after) - torso(m.before)) / m.dt, [math.cos(c[0]), math.sin(c[0])]),
    LEGACY: lambda m, c: np.dot((torso(m.after) - torso(m.before)) / m.dt, [math.cos(c[0]), math.sin(c[0])]),
    VEL: lambda m, c: 1 - abs((torso(m.after) - torso(m.before))[0] / m.dt - c[0]),
    POS: lambda m, c: 4 - np.abs(torso(m.after) - c).sum(),
    GOAL: lambda m, c: (
        -np.abs(torso(m.after) - 3 * c[1] ** 0.5 * np.array([math.cos(c[0]), math.sin(c[0])])).sum()
    ),
}
SEEN = {
    GOAL: lambda data: [*data.qpos, *data.qvel, *np.clip(data.cfrc_ext, -1, 1).ravel()],
    POS: lambda data: [*data.qpos, *data.qvel],
}


@pytest.mark.parametrize(
    ("env_id", "context"),
    [(DIR, [0.0]), (DIR, [4.0]), (LEGACY, [-1.0]), (VEL, [2.0]), (POS, [1.0, -2.5]), (GOAL, [2.0, 0.3])],
)
def test_the_ants_rewards_and_observations_are_those_of_the_formulas(env_id, context):
    touched = 0
    for moment in moments(env_id, context, steps=40):
        expected = WANTED[env_id](moment, np.array(context)) + 0.05 - costs(moment)
        assert moment.reward == pytest.approx(expected, abs=1e-6)
        seen = SEEN.get(env_id, lambda data: [*data.qpos[2:], *data.qvel])(moment.after)
        assert moment.observation == pytest.approx(seen, rel=1e-6, abs=1e-9)
        assert len(seen) == {GOAL: 113, POS: 29}.get(env_id, 27)
        height = moment.after.qpos[2]
        assert moment.terminated == (env_id != GOAL and not 0.2 <= height <= 1.0)
        touched += moment.after.cfrc_ext.any()
    assert touched > 10


@pytest.mark.parametrize(("env_id", "bonus", "low"), [(DIR, 0.05, 0.5), (HUMANOID, 5.0, 1.39)])
def test_the_last_step_has_the_reward_of_being_healthy_too(env_id, bonus, low):
    settings = {"healthy_z_range": [low, 5.0]}
    last = list(moments(env_id, [0.0], steps=200, **settings))[-1]
    env = make_env(env_id, {**settings, "mode": "hidden"})
    env.reset(seed=3, options={"context": [0.0]})
    generator = np.random.default_rng(0)
    for _ in range(200):
        action = generator.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        _, reward, terminated, _, info = env.step(action)
        if terminated:
            break
    assert terminated
    assert reward == last.reward
    parts = ("reward_forward", "reward_ctrl", "reward_contact")
    assert reward == pytest.approx(bonus + sum(info[name] for name in parts), abs=1e-6)


@pytest.mark.parametrize("angle", [0.0, 2.5])
def test_the_humanoids_rewards_are_those_of_the_formula(angle):
    for moment in moments(HUMANOID, [angle], steps=12):
        mass = moment.after.model.body_mass
        centres = [(mass[:, None] * data.xipos).sum(0) / mass.sum() for data in (moment.before, moment.after)]
        displacement = (centres[1] - centres[0])[:2] @ [math.cos(angle), math.sin(angle)]
        # As published: over the time of one of the five simulation steps.
        forward = 0.25 * displacement / moment.after.model.opt.timestep
        impact = min(0.5e-6 * np.square(moment.after.cfrc_ext).sum(), 10)
        control = 0.1 * np.square(moment.after.ctrl).sum()
        assert moment.reward == pytest.approx(forward - control - impact + 5, abs=1e-5)
        assert moment.terminated == (not 1 < moment.after.qpos[2] < 2)
        assert moment.observation.shape == (348,)


def test_legacy_directions_share_their_way_and_true_ones_oppose():
    true = [make_env(DIR, {"context": ["direction"], "fixed": [sign]}) for sign in (1.0, -1.0)]
    legacy = [make_env(LEGACY, {"fixed": [sign]}) for sign in (1.0, -1.0)]
    angles = [make_env(DIR, {"fixed": [angle]}) for angle in (0.0, math.pi, 1.0, 2 * math.pi - 1)]
    envs = [*true, *legacy, *angles]
    generator = np.random.default_rng(0)
    for env in envs:
        env.reset(seed=0)
    for _ in range(20):
        action = generator.uniform(-1, 1, 8).astype(np.float32)
        told = [env.step(action) for env in envs]
        info = told[0][4]
        x, y = info["x_velocity"], info["y_velocity"]
        rest = info["reward_survive"] + info["reward_ctrl"] + info["reward_contact"]
        found = np.array([reward for _, reward, *_ in told]) - rest
        left, right = x * math.cos(1) + y * math.sin(1), x * math.cos(1) - y * math.sin(1)
        assert found[:4] == pytest.approx([x, -x, left, right], abs=1e-6)
        assert found[4:] == pytest.approx(found[:4], abs=1e-6)


def test_an_angle_is_shown_as_cosine_and_sine_and_told_in_radians():
    env = make_env(DIR)
    for angle in (0.0, 1.0, 3.0, 6.2):
        observation, info = env.reset(options={"context": {"angle": angle}})
        assert observation["context"] == pytest.approx([math.cos(angle), math.sin(angle)], abs=1e-6)
        assert info["context"].tolist() == [angle]
    env = make_env(DIR, {"append": "flat", "units": "raw"})
    assert env.reset(options={"context": [5.0]})[0][-1] == 5.0
    assert make_env(DIR, {"append": "flat"}).observation_space.shape == (29,)


@pytest.mark.parametrize("append", ["dict", "flat"])
def test_agents_and_evaluations_know_how_an_angle_is_shown(append):
    env = make_env(GOAL, {"append": append})
    observation, _ = env.reset(options={"context": [2.0, 0.25]})
    code = observation["context"] if append == "dict" else observation[-3:]
    assert code == pytest.approx([math.cos(2), math.sin(2), -0.5], abs=1e-6)
    observed = Observed.of_env(env)
    assert observed.size == 3
    assert np.array_equal(observed.vector({"angle": 2.0, "area": 0.25}), code)
    view = ContextView(env.get_wrapper_attr("context_space"), "visible", append, "normalised")
    batch = (
        {key: value[None] for key, value in observation.items()} if append == "dict" else observation[None]
    )
    told = view.replaced(batch, [0], [[1.0, 1.0]])
    expected, _ = env.reset(options={"context": [1.0, 1.0]})
    found = told["context"][0] if append == "dict" else told[0, -3:]
    assert np.array_equal(found, expected["context"] if append == "dict" else expected[-3:])
    assert np.array_equal(view.as_observed([[2.0, 0.25]])[0], code)


def test_goals_fill_their_discs_and_squares_evenly():
    rows = suite_of(GOAL).plan(n_train=2000, n_test=1).splits.contexts("train")
    radius = 3 * np.sqrt(rows[:, 1])
    for part in (1.0, 2.0, 3.0):
        assert (radius < part).mean() == pytest.approx((part / 3) ** 2, abs=0.01)
    # The radius is part of the context: goals behind one another are two tasks.
    near, far = (next(moments(GOAL, [1.0, area], steps=1)).reward for area in (0.1, 0.9))
    assert near > far + 1


@pytest.mark.parametrize("env_id", [DIR, LEGACY, VEL, POS, GOAL, HUMANOID])
def test_all_promises_of_contexts_are_kept(env_id):
    check_context_env(gym.make(env_id), reference=suite_of(env_id).make_base())


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        (DIR, {"context": ["angle", "direction"]}),
        (LEGACY, {"append": "flat"}),
        (VEL, {"mode": "hidden"}),
        (POS, {"units": "raw"}),
        (GOAL, {"n_train": 8}),
        (HUMANOID, {"append": "flat", "healthy_z_range": [1.3, 2.0]}),
    ],
)
def test_together_they_are_what_they_are_one_by_one(env_id, settings):
    settings = {**settings, "max_episode_steps": 10}
    dummy, native = both(env_id, 3, **settings)
    assert is_native(env_id, settings)
    assert native.observation_space == dummy.observation_space
    assert_same(native.reset(), dummy.reset())
    ends, contexts = assert_same_steps(dummy, native, random_actions(dummy, 25))
    assert ends >= 6
    assert len(contexts) >= (2 if env_id == LEGACY else 4)
