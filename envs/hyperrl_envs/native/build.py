"""Which of Gymnasium's tasks are stepped natively, and building them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from hyperrl.errors import ConfigError, UnsupportedEnvError, nearest_name
from hyperrl.ranges import whole
from hyperrl_envs.native.ant import Ant
from hyperrl_envs.native.arguments import STEP_LIMIT, split_arguments, unsupported_argument
from hyperrl_envs.native.half_cheetah import HalfCheetah
from hyperrl_envs.native.humanoid import Humanoid
from hyperrl_envs.native.ids import SUPPORTED, supports
from hyperrl_envs.native.pendulums import InvertedDoublePendulum, InvertedPendulum
from hyperrl_envs.native.planar_walkers import Hopper, Walker2d
from hyperrl_envs.native.pusher import Pusher
from hyperrl_envs.native.reacher import Reacher
from hyperrl_envs.native.simulations import Simulations
from hyperrl_envs.native.swimmer import Swimmer
from hyperrl_envs.native.task import Task
from hyperrl_envs.quadrotor.task import Quadrotor

_CLASSES: tuple[type[Task], ...] = (
    Ant,
    HalfCheetah,
    Hopper,
    Humanoid,
    InvertedDoublePendulum,
    InvertedPendulum,
    Pusher,
    Reacher,
    Swimmer,
    Walker2d,
    Quadrotor,
)
TASKS = dict(zip(SUPPORTED, _CLASSES, strict=True))
"""The class of tasks of each id that can be stepped natively."""


def unsupported(env_id: str, arguments: Mapping[str, Any]) -> str | None:
    """Say which of an environment's keyword arguments only `gymnasium.make` knows, or None.

    Args:
        env_id: One of `SUPPORTED`.
        arguments: Keyword arguments that `gymnasium.make` takes.
    """
    return unsupported_argument(TASKS[env_id], arguments)


def build_simulations(
    env_id: str,
    n_envs: int,
    arguments: Mapping[str, Any],
    *,
    threads: int = 1,
    models: Sequence[Any] | None = None,
) -> Simulations:
    """Build environments of one task that are stepped together.

    Args:
        env_id: One of `SUPPORTED`.
        n_envs: How many.
        arguments: Keyword arguments as for `gymnasium.make`.
        threads: How many threads step.
        models: One `mujoco.MjModel` for each environment, used as it is; by default they share one that is
            loaded from the task's `xml_file`.

    Raises:
        UnsupportedEnvError: The task is not among them.
        UnknownNameError: There is no such keyword argument.
        ConfigError: A value is wrong.
        ShapeError: The models are of different structure.
    """
    if not supports(env_id):
        nearest = nearest_name(env_id, SUPPORTED, 0.8)
        hint = "" if nearest is None else f", did you mean {nearest!r}?"
        raise UnsupportedEnvError(
            f"{env_id!r} cannot be stepped natively{hint} (possible: {', '.join(SUPPORTED)})"
        )
    count = int(whole(1, 65536).check("n_envs", n_envs))
    spec = copy.deepcopy(gym.spec(env_id))
    spec.kwargs.update(arguments)
    limit = spec.kwargs.pop(STEP_LIMIT, None)
    task, rendering, limit = split_arguments(env_id, TASKS[env_id], {**spec.kwargs, STEP_LIMIT: limit})
    # As in `gymnasium.make`: nothing given means what is registered, -1 means no limit.
    spec.max_episode_steps = spec.max_episode_steps if limit is None else limit
    if models is None:
        model = task.load()
        models = [copy.copy(model) for _ in range(count)] if task.redrawn else [model] * count
    elif len(models) != count:
        raise ConfigError(f"there are {len(models)} models for {count} environments: give one each")
    return Simulations(
        task,
        models,
        spec=spec,
        rendering=rendering,
        max_episode_steps=None if spec.max_episode_steps == -1 else spec.max_episode_steps,
        threads=threads,
    )
