"""Whatever Gymnasium's own tasks return, the native ones return, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hyperrl.environments import make_env
from hyperrl_envs.native import SUPPORTED, NativeMujocoVectorEnv
from tests.envs.native.pairs import assert_same_steps, random_actions

SHORT = {"Reacher-v5": 50, "Pusher-v5": 100}  # The others' episodes of 1000 steps are cut to 400.
ENDLESS = {"HalfCheetah-v5", "Swimmer-v5", "Reacher-v5", "Pusher-v5"}
SLOW = {"Ant-v5", "Humanoid-v5"}

OTHER_SETTINGS = {
    "Ant-v5": [
        {"forward_reward_weight": 2, "ctrl_cost_weight": 0.3, "contact_cost_weight": 1e-2, "main_body": 2},
        {"main_body": "torso", "include_cfrc_ext_in_observation": False, "healthy_z_range": (0.5, 0.7)},
        {"contact_force_range": [-0.1, 0.2], "healthy_reward": 0.7, "reset_noise_scale": 0.2},
    ],
    "HalfCheetah-v5": [
        {"forward_reward_weight": 0.7, "ctrl_cost_weight": 0.3, "reset_noise_scale": 0.0, "frame_skip": 2},
    ],
    "Hopper-v5": [
        {"healthy_state_range": (-3, 3), "healthy_angle_range": (-0.1, 0.1), "healthy_reward": 2},
        {"healthy_z_range": (0.7, 1.3), "terminate_when_unhealthy": False, "frame_skip": 7},
    ],
    "Humanoid-v5": [
        {"include_cinert_in_observation": False, "include_cvel_in_observation": False},
        {"include_qfrc_actuator_in_observation": False, "include_cfrc_ext_in_observation": False},
        {"contact_cost_range": (0.1, 0.2), "contact_cost_weight": 1e-3, "terminate_when_unhealthy": False},
    ],
    "InvertedDoublePendulum-v5": [{"healthy_reward": 3.5, "reset_noise_scale": 0.3, "frame_skip": 3}],
    "InvertedPendulum-v5": [{"reset_noise_scale": 0.1, "frame_skip": 4}],
    "Pusher-v5": [{"reward_near_weight": 0.3, "reward_dist_weight": 2.5, "reward_control_weight": 0.7}],
    "Reacher-v5": [{"reward_dist_weight": 0.3, "reward_control_weight": 2.5, "frame_skip": 3}],
    "Swimmer-v5": [{"forward_reward_weight": 3.1, "ctrl_cost_weight": 0.3, "reset_noise_scale": 0.5}],
    "Walker2d-v5": [{"healthy_z_range": (1.1, 1.4), "healthy_angle_range": (-0.3, 0.3)}],
}


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_900_steps_are_the_same(env_id):
    actions = random_actions(env_id, 900, 2 if env_id in SLOW else 3)
    ends = assert_same_steps(env_id, actions, max_episode_steps=SHORT.get(env_id, 400))
    assert (ends["truncated"] > 0) == (env_id in ENDLESS)
    assert (ends["terminated"] > 0) == (env_id not in ENDLESS)


@pytest.mark.parametrize(
    ("env_id", "settings"), [(env_id, each) for env_id, sets in OTHER_SETTINGS.items() for each in sets]
)
def test_other_settings_have_the_same_effect(env_id, settings):
    places = "exclude_current_positions_from_observation"
    if "reset_noise_scale" in settings and env_id in ("Ant-v5", "HalfCheetah-v5", "Swimmer-v5"):
        settings = {**settings, places: False}
    assert_same_steps(env_id, random_actions(env_id, 40, 2), **settings)


@pytest.mark.parametrize("env_id", ["Walker2d-v5", "Humanoid-v5"])
def test_positions_can_be_part_of_the_observation(env_id):
    actions = random_actions(env_id, 40, 2)
    assert_same_steps(env_id, actions, exclude_current_positions_from_observation=False)


@pytest.mark.parametrize("env_id", ["Ant-v5", "HalfCheetah-v5", "Humanoid-v5", "Pusher-v5"])
@pytest.mark.parametrize("kind", ["float64", "beyond the bounds", "order of columns"])
def test_any_actions_are_taken_as_they_are(env_id, kind):
    actions = random_actions(env_id, 30, 3)
    if kind == "float64":
        actions = actions.astype(np.float64) * 0.77
    elif kind == "beyond the bounds":
        actions = actions * 5
    else:
        actions = np.ascontiguousarray(actions.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert_same_steps(env_id, actions)


def test_a_simulation_that_diverges_is_the_same():
    # MuJoCo resets what it cannot simulate, in the middle of an episode.
    actions = random_actions("InvertedDoublePendulum-v5", 20, 2)
    actions[10:, 1] = np.nan
    assert_same_steps("InvertedDoublePendulum-v5", actions)


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_simulations_hold_the_same_numbers(env_id):
    env, native = make_env(env_id), NativeMujocoVectorEnv(env_id, 1)
    env.reset(seed=3), native.reset(seed=3)
    for actions in random_actions(env_id, 3, 1):
        assert not env.step(actions[0])[2]
        native.step(actions)
    names = "qpos qvel qacc qacc_warmstart ctrl qfrc_constraint xpos xquat xipos cvel cacc cfrc_int cfrc_ext"
    for name in names.split():
        assert np.array_equal(getattr(native.envs[0].data, name), getattr(env.unwrapped.data, name)), name


@pytest.mark.parametrize("limit", [7, -1, None])
def test_the_limit_of_steps_is_as_in_make(limit):
    ends = assert_same_steps("Reacher-v5", random_actions("Reacher-v5", 60, 2), max_episode_steps=limit)
    assert ends["truncated"] == {7: 16, -1: 0, None: 2}[limit]


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Pusher-v5"])
def test_an_environment_does_not_depend_on_how_many_there_are(env_id):
    actions = random_actions(env_id, 40, 9)
    many = NativeMujocoVectorEnv(env_id, 9)
    observations = [many.reset(seed=3)[0], *(many.step(batch)[0] for batch in actions)]
    for index in (0, 5):
        one = NativeMujocoVectorEnv(env_id, 1)
        alone = [one.reset(seed=3 + index)[0], *(one.step(batch[index : index + 1])[0] for batch in actions)]
        assert np.array_equal(np.array(alone)[:, 0], np.array(observations)[:, index])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Humanoid-v5"])
def test_two_threads_do_what_one_does(env_id):
    assert_same_steps(
        env_id, random_actions(env_id, 60, 5), native=NativeMujocoVectorEnv(env_id, 5, threads=2)
    )


def test_each_environment_can_have_a_model_of_its_own():
    env_id, scales, settings = "Humanoid-v5", (0.5, 1.0, 3.0), {"terminate_when_unhealthy": False}
    separate = [make_env(env_id, settings) for _ in scales]
    for env, scale in zip(separate, scales, strict=True):
        env.unwrapped.model.body_mass[:] *= scale
        env.unwrapped.model.opt.timestep *= scale
    native = NativeMujocoVectorEnv(env_id, 3, models=[env.unwrapped.model for env in separate], **settings)
    observations = native.reset(seed=0)[0]
    for index, env in enumerate(separate):
        assert np.array_equal(env.reset(seed=index)[0], observations[index])
    for actions in random_actions(env_id, 10, 3):
        observations, rewards, *_ = native.step(actions)
        for index, env in enumerate(separate):
            observation, reward, *_ = env.step(actions[index])
            assert np.array_equal(observation, observations[index])
            assert reward == rewards[index]


def test_a_model_that_changes_between_episodes_counts_from_the_next_on():
    env = make_env("HalfCheetah-v5")
    native = NativeMujocoVectorEnv("HalfCheetah-v5", 1)
    for model in (env.unwrapped.model, native.envs[0].model):
        model.opt.timestep *= 2
        model.body_mass[:] *= 2
    assert np.array_equal(env.reset(seed=0)[0], native.reset(seed=0)[0][0])
    for actions in random_actions("HalfCheetah-v5", 20, 1):
        expected, found = env.step(actions[0]), native.step(actions)
        assert np.array_equal(expected[0], found[0][0])
        assert expected[1] == found[1][0]


def test_a_model_of_ones_own_is_loaded(tmp_path):
    path = tmp_path / "heavy.xml"
    text = Path(make_env("Hopper-v5").unwrapped.fullpath).read_text(encoding="utf-8")
    assert 'friction="2.0"' in text
    path.write_text(text.replace('friction="2.0"', 'friction="0.3"'))
    ends = assert_same_steps("Hopper-v5", random_actions("Hopper-v5", 60, 2), xml_file=str(path))
    assert ends["terminated"]
