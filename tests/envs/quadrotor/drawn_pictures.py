"""Pictures follow the robot and show the setpoint; they change nothing."""

from __future__ import annotations

import io

import gymnasium as gym
import numpy as np
from PIL import Image

from hyperrl.environments import make_env
from hyperrl.evaluation.film import SUFFIXES, Film
from hyperrl.evaluation.flight import fly
from hyperrl.exporters.crazyflie import CompiledController
from hyperrl_envs.native import make_native
from hyperrl_envs.quadrotor.ids import QUADROTOR
from tests.exporters.crazyflie.artefacts import artefact

SIZE = {"render_mode": "rgb_array", "width": 160, "height": 120}
ACTION = np.full(4, 0.18, np.float32)


def picture(env):
    return env.render().astype(int)


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


def test_a_film_has_its_pictures_and_changes_nothing():
    controller = CompiledController(artefact("linear"))
    env = make_env(QUADROTOR)
    film = Film(env)
    flight = fly(controller, env, 0, 0.5, film)
    film.close()
    env.close()
    env = make_env(QUADROTOR)
    assert np.array_equal(flight.positions, fly(controller, env, 0, 0.5).positions)
    env.close()
    for suffix in SUFFIXES:
        data = film.encode(suffix)
        picture = Image.open(io.BytesIO(data))
        assert picture.n_frames == 7
        assert len(data) < 150_000
        picture.seek(6)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
        # The blue rotors of the robot's front are in sight.
        assert ((pixels[..., 2] > 150) & (pixels[..., 0] < 100)).sum() > 20
