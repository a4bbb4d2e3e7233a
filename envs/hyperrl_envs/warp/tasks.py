"""Which formulas belong to which id, and the task that an id and its keyword arguments stand for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from hyperrl.errors import ConfigError
from hyperrl_envs.native.ant import Ant
from hyperrl_envs.native.arguments import STEP_LIMIT, split_arguments
from hyperrl_envs.native.half_cheetah import HalfCheetah
from hyperrl_envs.native.humanoid import Humanoid
from hyperrl_envs.native.model import load_model
from hyperrl_envs.native.pendulums import InvertedDoublePendulum, InvertedPendulum
from hyperrl_envs.native.planar_walkers import Hopper, Walker2d
from hyperrl_envs.native.pusher import Pusher
from hyperrl_envs.native.reacher import Reacher
from hyperrl_envs.native.swimmer import Swimmer
from hyperrl_envs.native.task import Task
from hyperrl_envs.warp.arms import PusherJudge, ReacherJudge
from hyperrl_envs.warp.bodies import AntJudge, HumanoidJudge
from hyperrl_envs.warp.humanoid_newton import use_newton
from hyperrl_envs.warp.ids import HUMANOID_NEWTON, check_supported
from hyperrl_envs.warp.judge import Judge
from hyperrl_envs.warp.pendulums import InvertedDoublePendulumJudge, InvertedPendulumJudge
from hyperrl_envs.warp.runners import HalfCheetahJudge, HopperJudge, SwimmerJudge, Walker2dJudge

_KINDS: dict[str, tuple[type[Task], type[Judge[Any]]]] = {
    "Ant-v5": (Ant, AntJudge),
    "HalfCheetah-v5": (HalfCheetah, HalfCheetahJudge),
    "Hopper-v5": (Hopper, HopperJudge),
    HUMANOID_NEWTON: (Humanoid, HumanoidJudge),
    "InvertedDoublePendulum-v5": (InvertedDoublePendulum, InvertedDoublePendulumJudge),
    "InvertedPendulum-v5": (InvertedPendulum, InvertedPendulumJudge),
    "Pusher-v5": (Pusher, PusherJudge),
    "Reacher-v5": (Reacher, ReacherJudge),
    "Swimmer-v5": (Swimmer, SwimmerJudge),
    "Walker2d-v5": (Walker2d, Walker2dJudge),
}


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Attributes:
        spec: The `gymnasium.envs.registration.EnvSpec`, with the keyword arguments.
        task: The task's settings.
        model: The `mujoco.MjModel`.
        max_episode_steps: Steps after which an episode is truncated, None for no limit.
        judge: Its formulas.
    """

    spec: Any
    task: Task
    model: Any
    max_episode_steps: int | None
    judge: type[Judge[Any]]

    def build_judge(self, device: torch.device) -> Judge[Any]:
        """Return the formulas, to be computed on a device."""
        return self.judge(self.task, self.model, device)


def read_setting(env_id: str, arguments: Mapping[str, Any]) -> Setting:
    """Turn an id and keyword arguments into what is simulated.

    Args:
        env_id: One of `hyperrl_envs.warp.SUPPORTED`.
        arguments: As for `gymnasium.make`.

    Raises:
        UnsupportedEnvError: The task is not among them.
        UnknownNameError: There is no such keyword argument.
        ConfigError: A value is wrong, or asks for pictures.
    """
    check_supported(env_id)
    kind, judge = _KINDS[env_id]
    spec: Any = copy.deepcopy(gym.spec(env_id))
    # NumPy's numbers would turn the formulas into float64 ones.
    plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in arguments.items()}
    spec.kwargs.update(plain)
    limit = spec.kwargs.pop(STEP_LIMIT, None)
    task, rendering, limit = split_arguments(env_id, kind, {**spec.kwargs, STEP_LIMIT: limit})
    if rendering.render_mode is not None:
        raise ConfigError(
            "a simulation with MuJoCo Warp draws no pictures: leave render_mode out, and watch its policy "
            "in gymnasium.make or hyperrl_envs.native"
        )
    # As in `gymnasium.make`: nothing given means what is registered, -1 means no limit.
    spec.max_episode_steps = spec.max_episode_steps if limit is None else limit
    model = load_model(task.xml_file)
    if env_id == HUMANOID_NEWTON:
        use_newton(model)
    steps = None if spec.max_episode_steps == -1 else spec.max_episode_steps
    return Setting(spec, task, model, steps, judge)
