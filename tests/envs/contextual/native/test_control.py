"""Beginning given episodes, keeping states, and reaching native contextual environments from outside."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from hyperrl.config import RunConfig
from hyperrl.environments import is_native, make_env, make_training_envs, make_vec_env
from hyperrl.errors import (
    BoundsError,
    CheckpointError,
    ConfigError,
    ContextError,
    ShapeError,
    UnknownNameError,
    UnsupportedEnvError,
)
from hyperrl.evaluation.zero_shot.lanes import NativeLanes, make_lanes
from hyperrl.run.env_state import capture, restore
from hyperrl_envs.contextual.native import ContextualVecEnv, make_contextual
from tests.envs.contextual.native.pairs import assert_same, random_actions
from tests.run.doubles import through_a_file

HOPPER, CHEETAH_RUN = "hyperrl/ContextualHopper-v0", "hyperrl/CheetahRun-v0"
NAVIGATION = "hyperrl/Navigation2D-v0"
SETTINGS = {"context": ["limb_length", "mass", "target_velocity"], "max_episode_steps": 30}


def play(venv, actions):
    """Everything that steps return, but the times, as text."""
    trace = []
    for batch in actions:
        observations, rewards, dones, infos = venv.step(batch)
        for info in infos:
            info.get("episode", {}).pop("t", None)
        trace.append(repr([observations, rewards.tolist(), dones.tolist(), infos]))
    return trace


def test_given_episodes_are_those_of_single_environments():
    contexts = [[0.7, 1.2, 0.5], {"limb_length": 1.3}, [1.0, 0.5, 3.0]]
    venv = make_contextual(HOPPER, 4, 0, **SETTINGS)
    venv.reset()
    begun = venv.begin([2, 0, 3], [11, 12, 13], contexts)
    single = [make_env(HOPPER, SETTINGS) for _ in contexts]
    space = venv.get_attr("context_space")[0]
    for row, (env, context, seed) in enumerate(zip(single, contexts, (11, 12, 13), strict=True)):
        given = space.as_dict(space.array(context))
        expected, info = env.reset(seed=seed, options={"context": given})
        assert_same({name: values[row] for name, values in begun.items()}, expected)
        assert_same(venv.reset_infos[(2, 0, 3)[row]], info)
    for batch in random_actions(venv, 12):
        observations, rewards, dones, _ = venv.step(batch)
        for lane, env in zip((2, 0, 3), single, strict=True):
            expected, reward, terminated, truncated, _ = env.step(batch[lane])
            if dones[lane]:
                assert terminated or truncated
                return
            assert_same({name: values[lane] for name, values in observations.items()}, expected)
            assert rewards[lane] == np.float32(reward)


def test_the_others_stay_where_they_are():
    venv, other = (make_contextual(HOPPER, 3, 4, **SETTINGS) for _ in range(2))
    actions = random_actions(venv, 10)
    venv.reset(), other.reset()
    for batch in actions[:5]:
        venv.step(batch), other.step(batch)
    other.begin([1], [99], [None])
    for batch in actions[5:]:
        left, right = venv.step(batch)[0], other.step(batch)[0]
        assert np.array_equal(left["observation"][[0, 2]], right["observation"][[0, 2]])
        assert not np.array_equal(left["observation"][1], right["observation"][1])


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (([0, 1], [1], [None, None]), ShapeError, "a seed and a context for each"),
        (([0, 0], [1, 2], [None, None]), ConfigError, "different numbers from 0 to 1"),
        (([0, 2], [1, 2], [None, None]), ConfigError, "different numbers from 0 to 1"),
        (([0], [1], [[9.0, 1.0, 1.0]]), BoundsError, "limb_length must be from"),
        (([0], [1], [[float("nan"), 1.0, 1.0]]), ValueError, "finite"),
    ],
)
def test_episodes_that_cannot_be_begun_change_nothing(arguments, error, sentence):
    venv, other = (make_contextual(HOPPER, 2, 4, **SETTINGS) for _ in range(2))
    venv.reset(), other.reset()
    with pytest.raises(error, match=sentence):
        venv.begin(*arguments)
    actions = random_actions(venv, 40)
    assert play(venv, actions) == play(other, actions)


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        (HOPPER, SETTINGS),
        (CHEETAH_RUN, {"context": ["speed", "length"], "max_episode_steps": 25}),
        ("hyperrl/ContextualQuadrotor-v0", {"context": ["payload", "mass"], "task": "mixed"}),
        ("hyperrl/ContextualCartPole-v0", {"context": ["length", "force"]}),
        ("hyperrl/Navigation2D-v0", {"max_episode_steps": 25}),
        ("hyperrl/ContextualHalfCheetah-v0", {"context": ["gravity", "friction"], "max_episode_steps": 25}),
    ],
)
def test_states_go_on_here_and_elsewhere(env_id, settings):
    first, new = make_contextual(env_id, 2, 4, **settings), make_contextual(env_id, 2, **settings)
    actions = random_actions(first, 90)
    first.reset()
    play(first, actions[:20])
    first.env_method("set_next_context", None, indices=0)
    first.env_method("set_sampler", "round_robin", 3, 7, indices=1)
    state = through_a_file(first.capture_env_states())
    expected = play(first, actions[20:])
    assert "episode" in "".join(expected)
    first.restore_env_states(state)
    assert play(first, actions[20:]) == expected
    new.restore_env_states(state)
    assert play(new, actions[20:]) == expected


def test_one_environment_can_go_back_alone():
    venv = make_contextual(HOPPER, 3, 4, **SETTINGS)
    actions = random_actions(venv, 40)
    venv.reset()
    before = venv.get_state(indices=1)
    first = [venv.step(batch)[0]["observation"] for batch in actions]
    venv.set_state(before, indices=1)
    second = [venv.step(batch)[0]["observation"] for batch in actions]
    assert np.array_equal(np.array(first)[:, 1], np.array(second)[:, 1])
    assert not np.array_equal(np.array(first)[:, 0], np.array(second)[:, 0])


def test_limbs_of_other_lengths_have_bounds_of_their_own():
    venv = make_contextual(HOPPER, 2, 0, context=["limb_length"], reset_noise_scale=0.0)
    venv.begin([0, 1], [0, 0], [[0.5], [1.5]])
    starts = [env.init_qpos[1] for env in venv.envs]
    # Both begin as healthy as the published one, of 1.25 m with a bound of 0.7 m.
    low, high = venv._simulations.task.healthy_z_range
    assert low == pytest.approx([0.7 * start / 1.25 for start in starts])
    assert np.isinf(high).all()
    assert starts[0] < 0.8 < 1.7 < starts[1]
    assert not venv.step(np.zeros((2, 3)))[2].any()


@pytest.mark.parametrize(("env_id", "name"), [(CHEETAH_RUN, "speed"), (NAVIGATION, "angle")])
def test_runs_and_evaluations_reach_them(env_id, name):
    settings = {"context": [name], "append": "flat"}
    lanes = make_lanes(env_id, settings, 3)
    assert isinstance(lanes, NativeLanes)
    lanes.close()
    config = RunConfig(agent="ppo", env=env_id, env_kwargs=settings, n_envs=4, steps=100)
    venv = make_training_envs(config, 3)
    assert isinstance(venv, ContextualVecEnv)
    assert len({float(context[0]) for context in (venv.reset(), venv.get_attr("context"))[1]}) > 1


def test_a_checkpoint_of_single_systems_says_how_it_goes_on():
    single, native = (make_vec_env(NAVIGATION, {}, 2, 0, native=native) for native in (False, True))
    single.reset()
    with pytest.raises(CheckpointError, match=r"set native = false in the run's run.toml"):
        restore(native, capture(single), 0)


def test_what_cannot_be_stepped_together_is_said():
    assert is_native(HOPPER, {"context": ["mass"], "healthy_reward": 2.0, "width": 64})
    assert is_native("hyperrl/ContextualODE-v0", {"context": ["c2"]})
    assert not is_native("Pendulum-v1", {})
    with pytest.warns(UserWarning, match="native ones do not take render_mode = 'human'"):
        assert not is_native(HOPPER, {"render_mode": "human"})
    with pytest.warns(UserWarning, match="native ones do not take colour"):
        assert not is_native("hyperrl/ContextualODE-v0", {"colour": "red"})
    with pytest.raises(UnsupportedEnvError, match="Hopper-v5' cannot be stepped natively"):
        make_contextual("Hopper-v5")
    with pytest.raises(UnknownNameError, match="keyword argument of hyperrl/ContextualODE-v0 'colour'"):
        make_contextual("hyperrl/ContextualODE-v0", colour="red")
    with pytest.raises(ConfigError, match="max_episode_steps must be"):
        make_contextual("hyperrl/ContextualODE-v0", max_episode_steps=0)
    with pytest.raises(ConfigError, match="no keyword argument 'threads'"):
        make_vec_env(HOPPER, {"threads": 2}, 2, 0, native=True)
    with pytest.raises(ContextError, match="which the context changes"):
        make_contextual("hyperrl/ContextualQuadrotor-v0", domain_randomisation=True)


def test_a_model_with_parts_that_simulations_share_is_not_shared():
    venv = make_contextual(HOPPER, 3, 0, context=["mass"])
    venv.begin([0, 1, 2], [0, 0, 0], [[0.5], [1.0], [1.5]])
    masses = np.array([env.model.body_mass for env in venv.envs])
    assert np.allclose(masses[0] * 3, masses[2])
    assert np.allclose(masses[0] * 2, masses[1])


def test_nothing_is_warned_of():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        venv = make_vec_env(CHEETAH_RUN, {"context": ["speed"]}, 2, 0, native=True)
        venv.reset()
        venv.step(np.zeros((2, 6)))
    assert not told
