"""What can be asked for, and how anything else is refused."""

from __future__ import annotations

import os
import subprocess
import sys

import gymnasium as gym
import pytest

from hyperrl.environments import make_env, make_vec_env
from hyperrl.errors import ConfigError, HyperRLError, ShapeError, UnknownNameError, UnsupportedEnvError
from hyperrl_envs.native import SUPPORTED, NativeMujocoVectorEnv, make_native, supports
from hyperrl_envs.native.build import TASKS
from hyperrl_envs.quadrotor.ids import QUADROTOR


def test_gymnasiums_ten_tasks_and_the_quadrotor_are_supported():
    names = "Ant HalfCheetah Hopper Humanoid InvertedDoublePendulum InvertedPendulum Pusher Reacher Swimmer"
    assert set(SUPPORTED) == {f"{name}-v5" for name in [*names.split(), "Walker2d"]} | {QUADROTOR}
    assert supports("Ant-v5")
    assert not supports("Ant-v4")


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "HumanoidStandup-v5", "HalfCheetah-v4"])
def test_another_environment_is_refused_with_the_list(env_id):
    with pytest.raises(UnsupportedEnvError, match=f"'{env_id}' cannot be stepped natively") as caught:
        make_vec_env(env_id, {}, 2, 0, native=True)
    assert all(name in str(caught.value) for name in SUPPORTED)


def test_an_unknown_id_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'HalfCheetah-v5'"):
        make_vec_env("HalfCheetah", {}, 2, 0, native=True)
    with pytest.raises(UnsupportedEnvError, match="did you mean 'HalfCheetah-v5'"):
        make_native("Halfcheetah-v5")


@pytest.mark.parametrize(
    ("env_id", "settings", "message"),
    [
        (
            "HalfCheetah-v5",
            {"healthy_reward": 1.0},
            "unknown keyword argument of HalfCheetah-v5",
        ),
        ("Hopper-v5", {"ctrl_cost_wight": 1.0}, "did you mean 'ctrl_cost_weight'"),
        ("Hopper-v5", {"ctrl_cost_weight": "much"}, "ctrl_cost_weight must be a finite number, got 'much'"),
        ("Hopper-v5", {"ctrl_cost_weight": True}, "must be a finite number"),
        ("Hopper-v5", {"healthy_reward": float("nan")}, "must be a finite number"),
        ("Hopper-v5", {"reset_noise_scale": -1}, "reset_noise_scale must be a number of at least 0"),
        ("Hopper-v5", {"terminate_when_unhealthy": 1}, "must be true or false, got 1"),
        ("Hopper-v5", {"healthy_z_range": 0.7}, "healthy_z_range must be two numbers"),
        ("Hopper-v5", {"healthy_z_range": (2, 1)}, "the lower one first"),
        ("Hopper-v5", {"healthy_z_range": (0, float("nan"))}, "must be two numbers"),
        ("Hopper-v5", {"frame_skip": 0}, "frame_skip must be a whole number of at least 1, got 0"),
        ("Hopper-v5", {"frame_skip": 2.5}, "frame_skip must be a whole number"),
        ("Hopper-v5", {"max_episode_steps": 0}, "max_episode_steps must be a whole number of at least 1"),
        ("Hopper-v5", {"xml_file": "no_such.xml"}, "xml_file 'no_such.xml' cannot be loaded"),
        ("Hopper-v5", {"xml_file": 3}, "xml_file must be text"),
        ("Hopper-v5", {"render_mode": "human"}, "render_mode must be 'rgb_array' or nothing"),
        ("Hopper-v5", {"camera_id": 0, "camera_name": "track"}, "camera_id or camera_name"),
        ("Hopper-v5", {"width": 0}, "width must be a whole number"),
        ("Ant-v5", {"main_body": "tail"}, "the model has no body 'tail'"),
        ("Ant-v5", {"main_body": 99}, "the model has no body 99"),
        ("Ant-v5", {"main_body": 1.5}, "main_body must be a name or a number"),
        ("Reacher-v5", {"xml_file": "hopper.xml"}, "the model has no body 'fingertip'"),
        ("InvertedDoublePendulum-v5", {"xml_file": "hopper.xml"}, "needs a site"),
        ("Hopper-v5", {"models": []}, "'Hopper-v5' has no keyword argument 'models'"),
        ("Hopper-v5", {"seed": 1}, "'Hopper-v5' has no keyword argument 'seed'"),
    ],
)
def test_a_wrong_argument_is_one_sentence(env_id, settings, message):
    with pytest.raises(HyperRLError, match=message) as caught:
        make_vec_env(env_id, settings, 2, 0, native=True)
    assert "\n" not in str(caught.value)


def test_numbers_of_environments_threads_and_models_are_checked():
    with pytest.raises(ConfigError, match="n_envs must be a whole number"):
        make_native("Reacher-v5", 0)
    with pytest.raises(ConfigError, match="threads must be a whole number of at least 1"):
        make_native("Reacher-v5", 2, threads=0)
    processors = len(os.sched_getaffinity(0))
    with pytest.raises(ConfigError, match=f"threads must be at most {processors}"):
        make_native("Reacher-v5", 2, threads=processors + 1)
    with pytest.raises(ConfigError, match="threads = 2 needs native = True"):
        make_vec_env("Reacher-v5", {}, 2, 0, threads=2)
    reacher, hopper = (make_env(name).unwrapped.model for name in ("Reacher-v5", "Hopper-v5"))
    with pytest.raises(ConfigError, match="there are 1 models for 2 environments"):
        make_native("Reacher-v5", 2, models=[reacher])
    with pytest.raises(ShapeError, match=r"models\[1\] has nq = 6, but models\[0\] has 4"):
        make_native("Reacher-v5", 2, models=[reacher, hopper])


def test_everything_is_usable_when_closed_twice():
    venv = make_native("Reacher-v5", 2, 0)
    venv.reset()
    venv.close()
    venv.close()
    vector = NativeMujocoVectorEnv("Reacher-v5", 2)
    vector.close()
    vector.close()


def test_the_tasks_alone_load_neither_torch_nor_stable_baselines3():
    code = (
        "import sys; from hyperrl_envs.native import NativeMujocoVectorEnv as V\n"
        "V('Reacher-v5', 2).reset(seed=0); print(sorted({'torch', 'stable_baselines3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_id_has_its_own_task():
    # The classes are named like their ids but for namespace and version.
    for env_id in SUPPORTED:
        entry = gym.spec(env_id).entry_point.partition(":")[2]
        assert TASKS[env_id].__name__ == env_id.removeprefix("hyperrl/").rpartition("-v")[0]
        assert entry.startswith(TASKS[env_id].__name__)
