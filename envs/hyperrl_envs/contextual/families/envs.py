"""The families' robots as Gymnasium environments, each with its published length and target."""

from __future__ import annotations

from typing import Any

from gymnasium.utils import EzPickle

from hyperrl_envs.contextual.families.cheetah import CheetahRun
from hyperrl_envs.contextual.families.finger import FingerSpin
from hyperrl_envs.contextual.families.walker import WalkerWalk
from hyperrl_envs.native.arguments import split_arguments
from hyperrl_envs.native.task import Task
from hyperrl_envs.native.task_env import TaskEnv

_OF_PICTURES = (
    "camera_id",
    "camera_name",
    "default_camera_config",
    "height",
    "max_geom",
    "render_mode",
    "visual_options",
    "width",
)


class FamilyEnv(TaskEnv):
    """A robot of a family; see its task for observation, reward and starts.

    Args:
        kind: The class of the task.
        name: What messages call the environment.
        **kwargs: The attributes of the task, and those of pictures as for Gymnasium's MuJoCo tasks.

    Raises:
        UnknownNameError: There is no such keyword argument.
        ConfigError: A value is of the wrong kind or out of range.
    """

    def __init__(self, kind: type[Task], name: str, **kwargs: Any) -> None:
        EzPickle.__init__(self, **kwargs)
        pictures = {key: value for key, value in kwargs.items() if key in _OF_PICTURES}
        own = {key: value for key, value in kwargs.items() if key not in pictures}
        super().__init__(split_arguments(name, kind, own)[0], **pictures)


class CheetahRunEnv(FamilyEnv):
    """The cheetah, see `CheetahRun`; the arguments are its attributes and those of pictures."""

    def __init__(self, *, camera_name: str | None = "track", **kwargs: Any) -> None:
        super().__init__(CheetahRun, "CheetahRun", camera_name=camera_name, **kwargs)


class WalkerWalkEnv(FamilyEnv):
    """The walker, see `WalkerWalk`; the arguments are its attributes and those of pictures."""

    def __init__(self, *, camera_name: str | None = "track", **kwargs: Any) -> None:
        super().__init__(WalkerWalk, "WalkerWalk", camera_name=camera_name, **kwargs)


class FingerSpinEnv(FamilyEnv):
    """The finger, see `FingerSpin`; the arguments are its attributes and those of pictures."""

    def __init__(self, *, camera_name: str | None = "side", **kwargs: Any) -> None:
        super().__init__(FingerSpin, "FingerSpin", camera_name=camera_name, **kwargs)
