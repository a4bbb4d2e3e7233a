"""Building contextual environments that are stepped together."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.mujoco.mujoco_env import expand_model_path

from hyperrl.errors import UnsupportedEnvError, nearest_name
from hyperrl.ranges import whole
from hyperrl_envs.contextual.dynamics.system import System
from hyperrl_envs.contextual.families.cheetah import CheetahRun
from hyperrl_envs.contextual.families.finger import FingerSpin
from hyperrl_envs.contextual.families.walker import WalkerWalk
from hyperrl_envs.contextual.loaded_quadrotor import LoadedQuadrotor
from hyperrl_envs.contextual.meta.cheetah import MetaCheetah
from hyperrl_envs.contextual.meta.walkers import MetaAnt, MetaAntGoal, MetaAntPos, MetaHumanoid
from hyperrl_envs.contextual.native.ids import SUPPORTED, supports
from hyperrl_envs.contextual.native.simulations import ContextualSimulations
from hyperrl_envs.contextual.native.systems import SystemSimulations
from hyperrl_envs.contextual.suites.suite import Suite, suite_of
from hyperrl_envs.native.arguments import STEP_LIMIT, checked_limit, split_arguments, unsupported_argument
from hyperrl_envs.native.build import TASKS
from hyperrl_envs.native.rendering import with_cameras
from hyperrl_envs.native.task import Task

_TASKS: dict[str, type[Task]] = {
    **TASKS,
    "hyperrl/AntDir-v0": MetaAnt,
    "hyperrl/AntDirLegacy-v0": MetaAnt,
    "hyperrl/AntGoal-v0": MetaAntGoal,
    "hyperrl/AntPos-v0": MetaAntPos,
    "hyperrl/AntVel-v0": MetaAnt,
    "hyperrl/CheetahRun-v0": CheetahRun,
    "hyperrl/ContextualQuadrotor-v0": LoadedQuadrotor,
    "hyperrl/FingerSpin-v0": FingerSpin,
    "hyperrl/HalfCheetahDir-v0": MetaCheetah,
    "hyperrl/HalfCheetahVel-v0": MetaCheetah,
    "hyperrl/HalfCheetahVelMedium-v0": MetaCheetah,
    "hyperrl/HumanoidDir-v0": MetaHumanoid,
    "hyperrl/WalkerWalk-v0": WalkerWalk,
}


def unsupported(env_id: str, arguments: Mapping[str, Any]) -> str | None:
    """Say which of an environment's keyword arguments only `gymnasium.make` knows, or None.

    Args:
        env_id: One of `ids.SUPPORTED`.
        arguments: Keyword arguments that `gymnasium.make` takes.

    Raises:
        HyperRLError: Those of the context are wrong.
    """
    suite = suite_of(env_id)
    own = {name: value for name, value in arguments.items() if name != STEP_LIMIT}
    base = suite.plan(**own).base
    return next(iter(base), None) if _is_system(suite) else unsupported_argument(_task(suite), base)


def build_contextual(
    env_id: str, n_envs: int, arguments: Mapping[str, Any], *, threads: int = 1
) -> ContextualSimulations | SystemSimulations:
    """Build contextual environments of one family that are stepped together.

    Args:
        env_id: One of `ids.SUPPORTED`.
        n_envs: How many.
        arguments: Keyword arguments as for `gymnasium.make`.
        threads: How many threads step; systems without a simulator are stepped by one.

    Raises:
        UnsupportedEnvError: The task is not among them.
        HyperRLError: A keyword argument is wrong, see `Suite.plan` and `build_simulations`.
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
    suite = suite_of(env_id)
    plan = suite.plan(**spec.kwargs)
    if _is_system(suite):
        suite.check_base(plan)
        _limit_steps(spec, checked_limit(limit))
        system: Any = suite.make_base()
        return SystemSimulations(plan, system, count, spec=spec, max_episode_steps=_limit_of(spec))
    kind = _task(suite)
    task, rendering, limit = split_arguments(env_id, kind, {**plan.base, STEP_LIMIT: limit})
    _limit_steps(spec, limit)
    model = task.load()
    return ContextualSimulations(
        suite,
        plan,
        task,
        [copy.copy(model) for _ in range(count)],
        source=expand_model_path(task.xml_file),
        spec=spec,
        rendering=with_cameras(rendering, suite.make_base),
        max_episode_steps=_limit_of(spec),
        threads=threads,
    )


def _limit_steps(spec: Any, limit: int | None) -> None:
    # As in `gymnasium.make`: nothing given means what is registered, -1 means no limit.
    spec.max_episode_steps = spec.max_episode_steps if limit is None else limit


def _limit_of(spec: Any) -> int | None:
    return None if spec.max_episode_steps == -1 else spec.max_episode_steps


def _is_system(suite: Suite) -> bool:
    return isinstance(suite.make_base, type) and issubclass(suite.make_base, System)


def _task(suite: Suite) -> type[Task]:
    assert suite.native_id is not None
    return _TASKS[suite.native_id]
