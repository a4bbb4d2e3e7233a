"""Filming the simulated quadrotor."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import mujoco
from PIL import Image

from hyperrl.errors import UnsupportedEnvError

if TYPE_CHECKING:
    from hyperrl_envs.quadrotor.env import QuadrotorEnv

SUFFIXES = (".gif", ".webp")
"""Moving pictures that need no other program."""
_HEIGHT, _WIDTH = 240, 320
_PER_SECOND = 12.5
_DISTANCE, _AZIMUTH, _ELEVATION = 0.6, 32.0, -20.0  # Of the camera from the robot, in m and degrees.
_COLOURS = 64  # Of a GIF: more make it larger, not better.


class Film:
    """Pictures of a flight from a camera that stays beside the robot, 12.5 of each second.

    Args:
        env: A `hyperrl/Quadrotor-v0`.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._robot: QuadrotorEnv = env.unwrapped  # type: ignore[assignment]
        self._renderer: Any = None
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
        self._camera.trackbodyid = self._robot.model.body("quadrotor").id
        self._camera.distance, self._camera.azimuth = _DISTANCE, _AZIMUTH
        self._camera.elevation = _ELEVATION
        self._pictures: list[Image.Image] = []

    def __call__(self) -> None:
        """Take a picture if it is time for one.

        Raises:
            UnsupportedEnvError: No pictures can be drawn on this machine.
        """
        model, data = self._robot.model, self._robot.data
        if data.time * _PER_SECOND + 1e-6 < len(self._pictures):
            return
        try:
            if self._renderer is None:
                self._renderer = mujoco.Renderer(model, _HEIGHT, _WIDTH)
            self._robot.task.show(model, data)
            self._renderer.update_scene(data, self._camera)
            self._pictures.append(Image.fromarray(self._renderer.render().copy()))
        except Exception as error:  # Drivers fail in any way.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnsupportedEnvError(
                f"no picture can be drawn on this machine ({reason}): try MUJOCO_GL=egl, or leave the video "
                "away"
            ) from error

    def close(self) -> None:
        """Give the renderer's memory back; the pictures stay."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def encode(self, suffix: str) -> bytes:
        """Return the film, which plays again and again.

        Args:
            suffix: One of `SUFFIXES`.
        """
        images, more = self._pictures, {"quality": 60, "method": 4}
        if suffix == ".gif":
            # One palette for all: what does not move keeps its colours, and costs nothing. It covers the
            # colours of few pixels too, such as those of the robot.
            cover, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
            palette = images[len(images) // 2].quantize(_COLOURS, method=cover, dither=dither)
            images = [image.quantize(palette=palette, dither=dither) for image in images]
            more = {"optimize": False}
        data = io.BytesIO()
        images[0].save(
            data,
            format=suffix[1:].upper(),
            save_all=True,
            append_images=images[1:],
            duration=round(1000 / _PER_SECOND),
            loop=0,
            **more,
        )
        return data.getvalue()
