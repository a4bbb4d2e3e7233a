"""Pictures of a native environment, drawn by Gymnasium's renderer for MuJoCo."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from hyperrl.errors import ConfigError

RENDER_MODES = (None, "rgb_array")


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """How environments are drawn; the attributes are the keyword arguments of Gymnasium's tasks.

    Attributes:
        render_mode: "rgb_array", or None for no pictures.
        width: Of a picture, in pixels.
        height: Of a picture, in pixels.
        camera_id: Number of the model's camera.
        camera_name: Its name, instead of the number; without either the task decides.
        default_camera_config: Settings of the free camera; None takes those of the task.
        max_geom: How many shapes are drawn at most.
        visual_options: MuJoCo's visual flags by number.

    Raises:
        ConfigError: The mode is another one, or the camera is given twice.
    """

    render_mode: str | None = None
    width: int = 480
    height: int = 480
    camera_id: int | None = None
    camera_name: str | None = None
    default_camera_config: Mapping[str, Any] | None = None
    max_geom: int = 1000
    visual_options: Mapping[int, bool] | None = None

    def __post_init__(self) -> None:
        """Check what contradicts."""
        if self.render_mode not in RENDER_MODES:
            raise ConfigError(
                f"render_mode must be 'rgb_array' or nothing for environments that are stepped together, got "
                f"{self.render_mode!r}"
            )
        if self.camera_id is not None and self.camera_name is not None:
            raise ConfigError("give camera_id or camera_name, not both")


def prepare_model(model: Any, settings: RenderSettings) -> None:
    """Let a model's off-screen buffer be large enough for the pictures.

    Args:
        model: The `mujoco.MjModel`.
        settings: The size of the pictures.
    """
    buffer = model.vis.global_
    buffer.offwidth = max(buffer.offwidth, settings.width)
    buffer.offheight = max(buffer.offheight, settings.height)


def make_renderer(model: Any, data: Any, spec: Any, settings: RenderSettings) -> Any:
    """Build Gymnasium's renderer of one simulation.

    Args:
        model: The `mujoco.MjModel`.
        data: The `mujoco.MjData`.
        spec: The `gymnasium.envs.registration.EnvSpec` of the task.
        settings: How to draw.

    Returns:
        A `gymnasium.envs.mujoco.mujoco_rendering.MujocoRenderer`.
    """
    from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

    settings = with_cameras(settings, gym.envs.registration.load_env_creator(spec.entry_point))
    camera = settings.default_camera_config
    return MujocoRenderer(
        model,
        data,
        None if camera is None else dict(camera),
        settings.width,
        settings.height,
        settings.max_geom,
        settings.camera_id,
        settings.camera_name,
        None if settings.visual_options is None else dict(settings.visual_options),
    )


def with_cameras(settings: RenderSettings, task: Callable[..., Any]) -> RenderSettings:
    """Return settings with the cameras of a task where they name none.

    Args:
        settings: How to draw.
        task: What builds Gymnasium's environment of the task; the defaults of its arguments are taken.
    """
    camera, name = settings.default_camera_config, settings.camera_name
    if name is None and settings.camera_id is None:
        name = _default(task, "camera_name")
    if camera is None:
        camera = _default(task, "default_camera_config")
    return dataclasses.replace(settings, camera_name=name, default_camera_config=camera)


def _default(task: Callable[..., Any], name: str) -> Any:
    parameter = inspect.signature(task).parameters.get(name)
    return None if parameter is None else parameter.default
