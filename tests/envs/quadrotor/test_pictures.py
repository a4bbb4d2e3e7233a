"""Pictures follow the robot and show the setpoint; they change nothing."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from hyperrl_envs.native import make_native
from hyperrl_envs.quadrotor.ids import QUADROTOR

SIZE = {"render_mode": "rgb_array", "width": 160, "height": 120}
ACTION = np.full(4, 0.18, np.float32)


def picture(env):
    try:
        return env.render().astype(int)
    except Exception as error:
        pytest.skip(f"nothing can be drawn here: {type(error).__name__}")


def red(image):
    """Where the ball of the setpoint is: the middle of its pixels, and how many there are."""
    rows, columns = ((image[..., 0] > 120) & (image[..., 1] < 90) & (image[..., 2] < 90)).nonzero()
    return (rows.mean(), columns.mean(), len(rows)) if len(rows) else (None, None, 0)


def test_the_ball_is_where_the_setpoint_is():
    size = {**SIZE, "width": 480, "height": 360}
    env = gym.make(QUADROTOR, task="trajectory", reset_noise_scale=0.0, camera_name="overview", **size)
    env.reset(seed=2)
    picture(env)
    model, data = env.unwrapped.model, env.unwrapped.data
    for _ in range(30):
        observation = env.step(ACTION)[0]
    data.qpos[:3] += 5.0  # Out of the picture.
    ball = red(picture(env))
    drawn = data.geom_xpos[model.geom("setpoint").id]
    assert np.allclose(drawn, data.qpos[:3] - 5.0 - observation[:3], atol=1e-12)
    assert ball[2] > 3
    env.close()


def test_the_camera_follows_the_robot():
    env = gym.make(QUADROTOR, reset_noise_scale=0.0, **SIZE)
    env.reset(seed=0)
    at_setpoint = red(picture(env))
    above = env.unwrapped.data.qpos.copy()
    above[2] += 0.2
    env.unwrapped.set_state(above, np.zeros(6))
    below = red(picture(env))
    # The robot stays in the middle and hides no ball that is below it.
    assert below[0] > 75
    assert below[2] > at_setpoint[2]
    env.close()


def test_many_draw_what_one_draws_and_fly_on_alike():
    one, native = gym.make(QUADROTOR, **SIZE), make_native(QUADROTOR, 2, 0, **SIZE)
    silent = make_native(QUADROTOR, 2, 0)
    one.reset(seed=0), native.reset(), silent.reset()
    for _ in range(5):
        one.step(ACTION)
        assert np.array_equal(native.step([ACTION] * 2)[0], silent.step([ACTION] * 2)[0])
        expected = picture(one)
        assert np.array_equal(native.get_images()[0], expected)
    native.close(), one.close()
