"""What every environment with contexts does: where contexts come from, and how they are shown."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import SAC
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3
from stable_baselines3.common.env_util import make_vec_env

from hyperrl.context import ContextParam, ContextSpace, Region, make_splits
from hyperrl_envs.contextual import ContextualMujoco, suite_of
from hyperrl_envs.contextual.ids import SUITES
from hyperrl_envs.contextual.verify import contextual_layer
from tests.envs.contextual.suite_cases import make

HOPPER = "hyperrl/ContextualHopper-v0"
BY_HAND = {"mass": 1.3, "gravity": 0.7}


def contexts_of(env, resets, seed=0):
    infos = [env.reset(seed=seed if index == 0 else None)[1] for index in range(resets)]
    return np.stack([info["context"] for info in infos])


def test_samples_are_those_of_a_generator_of_their_own():
    """The sequence by hand, from the rule that is written down."""
    env = make(HOPPER, "mass", "gravity")
    generator = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(0xC0,)))
    region = Region.training(contextual_layer(env).context_space)
    expected = np.stack([region.sample(generator, 1)[0] for _ in range(5)])
    assert np.array_equal(contexts_of(env, 5, seed=7), expected)


def test_one_seed_has_the_same_noise_in_every_context():
    env = make(HOPPER, "mass", "limb_length", mode="hidden")
    starts = []
    for mass, length in ((0.5, 0.6), (1.0, 1.0), (1.4, 1.5)):
        env.reset(seed=11, options={"context": {"mass": mass, "limb_length": length}})
        base = env.unwrapped
        starts.append(np.concatenate([base.data.qpos - base.init_qpos, base.data.qvel - base.init_qvel]))
    assert np.abs(starts[0]).max() > 1e-3
    assert np.allclose(starts[0], starts[1], rtol=0, atol=1e-15)
    assert np.allclose(starts[0], starts[2], rtol=0, atol=1e-15)


@pytest.mark.parametrize("env_id", SUITES)
def test_one_seed_has_one_sequence_of_contexts_and_starts(env_id):
    env = make(env_id)
    first, again = ([env.reset(seed=4 if index == 0 else None) for index in range(6)] for _ in range(2))
    for (shown, info), (other, other_info) in zip(first, again, strict=True):
        for name, values in shown.items():
            assert np.array_equal(values, other[name])
        assert info["context_id"] == other_info["context_id"]
    assert len({info["context_id"] for _, info in first}) > 1


def test_vectorised_environments_go_through_the_same_contexts():
    """Resets that a `VecEnv` does by itself have neither seed nor options, and lose nothing."""
    settings = {"context": ["mass", "gravity"], "max_episode_steps": 4}
    vec_env = make_vec_env(lambda: gym.make(HOPPER, **settings), n_envs=2, seed=3)
    singles = [gym.make(HOPPER, **settings) for _ in range(2)]
    expected = [contexts_of(env, 4, seed=3 + rank) for rank, env in enumerate(singles)]
    vec_env.reset()
    assert np.array_equal(vec_env.get_attr("context"), [rows[0] for rows in expected])
    actions = np.zeros((2, 3), np.float32)
    for number in range(1, 4):
        for _ in range(4):
            _, _, dones, infos = vec_env.step(actions)
        assert dones.all()
        for rank in range(2):
            assert np.array_equal(infos[rank]["context"], expected[rank][number - 1])
            assert np.array_equal(vec_env.reset_infos[rank]["context"], expected[rank][number])
            last = infos[rank]["terminal_observation"]["context"]
            space = contextual_layer(singles[0]).context_space
            assert np.array_equal(last, space.normalise(expected[rank][number - 1]).astype(np.float32))


def test_the_next_context_comes_once_and_the_fixed_one_until_it_is_taken_back():
    vec_env = make_vec_env(lambda: gym.make(HOPPER, max_episode_steps=3), n_envs=2, seed=0)
    vec_env.reset()
    vec_env.env_method("set_next_context", BY_HAND, indices=[1])
    vec_env.env_method("set_fixed_context", {"mass": 0.9}, indices=[0])
    seen = []
    for _ in range(3):
        for _ in range(3):
            vec_env.step(np.zeros((2, 3), np.float32))
        seen.append(vec_env.get_attr("context"))
    assert np.array_equal(seen[0], [[0.9, 1.0], [1.3, 0.7]])
    assert np.array_equal([row[0] for row in seen], [[0.9, 1.0]] * 3)
    assert not np.array_equal(seen[1][1], [1.3, 0.7])
    vec_env.env_method("set_fixed_context", None)
    vec_env.reset()
    assert not np.array_equal(vec_env.get_attr("context")[0], [0.9, 1.0])


def test_round_robin_over_several_environments_takes_every_context_of_training():
    settings = {"split": "tasks", "grid": 4, "test_fraction": 0.2, "sampler": "round_robin"}
    envs = [gym.make(HOPPER, **settings) for _ in range(3)]
    for rank, env in enumerate(envs):
        env.get_wrapper_attr("set_sampler")("round_robin", rank, len(envs))
    rows = contextual_layer(envs[0]).splits.contexts("train")
    assert len(rows) == 13
    found = np.stack([env.reset()[1]["context"] for _ in range(5) for env in envs])
    assert np.array_equal(found[:13], rows)
    assert np.array_equal(found[13:], rows[:2])


def test_contexts_are_shown_as_was_asked():
    context = np.array([1.5, 0.75])
    shown = {}
    for name, settings in {
        "dict": {},
        "flat": {"append": "flat"},
        "raw": {"append": "flat", "units": "raw"},
        "hidden": {"mode": "hidden"},
        "privileged": {"mode": "privileged"},
    }.items():
        env = make(HOPPER, "mass", "gravity", **settings)
        shown[name], info = env.reset(seed=0, options={"context": context})
        assert env.observation_space.contains(shown[name])
        assert np.array_equal(info["context"], context)
        assert info["context_id"] == "mass=1.5,gravity=0.75"
        assert env.get_wrapper_attr("context_mode") == settings.get("mode", "visible")
    # The training range from 0.75 to 1.25 is [-1, 1], and what lies beyond is not clipped.
    assert np.array_equal(shown["dict"]["context"], np.array([2.0, -1.0], np.float32))
    own = shown["dict"]["observation"]
    assert own.dtype == np.float32
    assert np.array_equal(shown["flat"], np.append(own, np.float32([2.0, -1.0])))
    assert np.array_equal(shown["raw"], np.append(own, np.float32([1.5, 0.75])))
    assert np.array_equal(shown["hidden"], own)
    assert np.array_equal(shown["privileged"]["context"], shown["dict"]["context"])


def test_what_an_episode_told_does_not_change_afterwards():
    env = make(HOPPER, "mass")
    observation, info = env.reset(seed=0)
    kept = {name: values.copy() for name, values in observation.items()}, info["context"].copy()
    info["context"][:] = 99.0
    _, _, _, _, info = env.step(np.zeros(3, np.float32))
    assert np.array_equal(info["context"], kept[1])
    env.reset()
    assert np.array_equal(observation["context"], kept[0]["context"])


@pytest.mark.filterwarnings("ignore")  # That it is wrapped, and that velocities have no bounds.
@pytest.mark.parametrize("env_id", SUITES)
def test_the_checkers_of_gymnasium_and_sb3_pass(env_id):
    env = gym.make(env_id, append="flat", disable_env_checker=True)
    check_env(contextual_layer(env), skip_render_check=True)
    check_env_of_sb3(env)


def test_the_spec_builds_the_environment_again():
    env = gym.make(HOPPER, context=["gravity", "mass"], mode="hidden", split="axes")
    again = env.spec.make()
    for one in (env, again):
        assert contextual_layer(one).context_space.names == ("gravity", "mass")
    assert contextual_layer(again).splits.text() == contextual_layer(env).splits.text()
    assert np.array_equal(env.reset(seed=5)[0], again.reset(seed=5)[0])


def test_an_environment_of_ones_own_is_rebuilt_from_its_spec():
    params = [ContextParam("gravity", 0.5, 1.5, fields=("opt.gravity",), train=(0.8, 1.2))]
    env = ContextualMujoco(gym.make("Hopper-v5"), params, append="flat")
    again = env.spec.make()
    shown = [one.reset(seed=2) for one in (env, again)]
    assert np.array_equal(shown[0][0], shown[1][0])
    assert np.array_equal(shown[0][1]["context"], shown[1][1]["context"])


def test_sb3_trains_on_it():
    agent = SAC("MultiInputPolicy", gym.make(HOPPER), learning_starts=8, buffer_size=50, seed=0)
    agent.learn(10)
    assert agent.replay_buffer.observations["observation"].dtype == np.float32


@pytest.mark.parametrize("env_id", SUITES)
@pytest.mark.parametrize("split", ["box", "bands", "axes", "tasks"])
def test_contexts_of_training_and_tests_are_apart(env_id, split):
    names = [param.name for param in suite_of(env_id).params if not param.choices][:3]
    plan = suite_of(env_id).plan(context=names, split=split, grid=8)
    trained = {plan.space.key(row) for row in plan.splits.contexts("train")}
    assert plan.splits.tests
    for name in plan.splits.tests:
        rows = plan.splits.contexts(name)
        assert len(rows)
        assert not trained & {plan.space.key(row) for row in rows}
    again = type(plan.splits).from_json(plan.splits.to_json())
    assert again.text() == plan.splits.text()


def test_combinations_of_signs_can_be_held_out():
    plan = suite_of(HOPPER).plan(
        context=["sign_thigh", "sign_leg", "sign_foot"], split="tasks", test_fraction=0.25
    )
    every = np.concatenate([plan.splits.contexts("train"), plan.splits.contexts("tasks")])
    assert len({tuple(row) for row in every}) == 8
    assert len(plan.splits.contexts("tasks")) == 2


def test_splits_of_an_environment_are_by_default_the_whole_box():
    space = ContextSpace([ContextParam("gravity", 0.5, 1.5, fields=("opt.gravity",), train=(0.8, 1.2))])
    env = ContextualMujoco(gym.make("Hopper-v5"), space)
    assert env.splits.text() == make_splits(space).text()
