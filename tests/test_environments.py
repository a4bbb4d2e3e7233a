import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl.config import RunConfig
from hyperrl.environments import check_spaces, make_env, make_training_envs, make_vec_env
from hyperrl.errors import ConfigError, MissingExtraError, UnknownNameError, UnsupportedSpaceError
from hyperrl_envs.native import NativeMujocoVecEnv


class Spaces(gym.Env):
    """Has spaces and nothing else."""

    def __init__(self, observation_space, action_space):
        self.observation_space = observation_space
        self.action_space = action_space


BOX = spaces.Box(-1, 1, (3,))


@pytest.mark.parametrize(
    ("env_id", "nearest"),
    [("HalfCheetah", "HalfCheetah-v5"), ("halfcheetah-v5", "HalfCheetah-v5"), ("Hoper-v5", "Hopper-v5")],
)
def test_an_unknown_id_is_refused_with_the_nearest(env_id, nearest):
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'"):
        make_env(env_id)


def test_an_id_can_name_the_module_that_registers_it(tmp_path, monkeypatch):
    (tmp_path / "toy_envs_of_a_test.py").write_text(
        "import gymnasium\n"
        "entry_point = 'gymnasium.envs.classic_control:PendulumEnv'\n"
        "gymnasium.register('ToyOfATest-v0', entry_point, max_episode_steps=5)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make_env("toy_envs_of_a_test:ToyOfATest-v0").spec.max_episode_steps == 5
    with pytest.raises(ConfigError, match="the module 'no_such_module_here' of the environment"):
        make_env("no_such_module_here:Toy-v0")
    with pytest.raises(ConfigError, match="the module '' of the environment ':Toy-v0'"):
        make_env(":Toy-v0")


def test_wrong_keyword_arguments_are_refused():
    with pytest.raises(ConfigError, match=r"'Pendulum-v1' cannot be built: .*gravity"):
        make_env("Pendulum-v1", {"gravityy": 9.81})


def test_a_missing_package_is_named():
    try:
        import Box2D  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="box2d"):
            make_env("LunarLander-v3")
    else:
        assert make_env("LunarLander-v3").action_space.n == 4


def test_a_module_that_an_environment_lacks_is_named(tmp_path, monkeypatch):
    (tmp_path / "lacking_env_of_a_test.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('LackingOfATest-v0', lambda: __import__('no_such_module_here'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match="no_such_module_here"):
        make_env("lacking_env_of_a_test:LackingOfATest-v0")


def test_mujoco_leaves_no_log_in_the_working_directory(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    make_env("HalfCheetah-v5").close()
    assert list(tmp_path.iterdir()) == []
    assert "settotalmass" not in capfd.readouterr().err


def test_vector_environments_have_their_own_seeds():
    venv = make_vec_env("Pendulum-v1", {"g": 5.0}, 2, seed=7)
    first = venv.reset()
    assert first.shape == (2, 3)
    assert not np.array_equal(first[0], first[1])
    assert venv.get_attr("g") == [5.0, 5.0]
    for row, seed in zip(first, (7, 8), strict=True):
        np.testing.assert_array_equal(row, make_env("Pendulum-v1").reset(seed=seed)[0])
    venv.close()


def test_right_spaces_give_the_number_of_action_dimensions():
    assert check_spaces(Spaces(BOX, spaces.Box(-1, 1, (2, 3))), "td3", "MlpPolicy") == 6
    assert check_spaces(Spaces(spaces.Dict(a=BOX), BOX), "td3", "MultiInputPolicy") == 3


@pytest.mark.parametrize(
    "actions",
    [
        spaces.Discrete(3),
        spaces.MultiDiscrete([2, 2]),
        spaces.MultiBinary(2),
        spaces.Dict(a=BOX),
        spaces.Tuple([BOX]),
    ],
)
def test_actions_that_are_no_box_are_refused(actions):
    with pytest.raises(UnsupportedSpaceError, match="td3 needs a Box action space, but Spaces has"):
        check_spaces(Spaces(BOX, actions), "td3", "MlpPolicy")


def test_unbounded_actions_are_refused():
    with pytest.raises(UnsupportedSpaceError, match="needs bounded actions"):
        check_spaces(Spaces(BOX, spaces.Box(-np.inf, np.inf, (2,))), "td3", "MlpPolicy")


@pytest.mark.parametrize(
    ("observations", "policy", "right"),
    [(spaces.Dict(a=BOX), "MlpPolicy", "MultiInputPolicy"), (BOX, "MultiInputPolicy", "MlpPolicy")],
)
def test_a_policy_that_does_not_fit_the_observations_is_refused(observations, policy, right):
    with pytest.raises(UnsupportedSpaceError, match=f"use {right}"):
        check_spaces(Spaces(observations, BOX), "td3", policy)


@pytest.mark.parametrize(
    ("env_kwargs", "argument"),
    [
        ({"disable_env_checker": True}, "disable_env_checker"),
        ({"render_mode": "rgb_array_list"}, "render_mode = "),
    ],
)
def test_what_only_gymnasium_takes_is_simulated_by_gymnasium(env_kwargs, argument):
    config = RunConfig("td3", "Hopper-v5", env_kwargs={"max_episode_steps": 7, **env_kwargs})
    with pytest.warns(
        UserWarning, match=f"Hopper-v5 is simulated by Gymnasium's own .*: native ones do not take {argument}"
    ):
        venv = make_training_envs(config, 0)
    assert isinstance(venv, DummyVecEnv)
    assert venv.envs[0].spec.max_episode_steps == 7
    venv.close()


def test_what_native_environments_take_is_simulated_natively():
    config = RunConfig("td3", "Hopper-v5", env_kwargs={"max_episode_steps": 7, "render_mode": "rgb_array"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        venv = make_training_envs(config, 0)
    assert isinstance(venv, NativeMujocoVecEnv)
    venv.close()
    # A wrong value is no reason for another simulation.
    with pytest.raises(ConfigError, match="reset_noise_scale"):
        make_training_envs(RunConfig("td3", "Hopper-v5", env_kwargs={"reset_noise_scale": -1.0}), 0)
