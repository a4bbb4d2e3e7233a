"""Building environments by their Gymnasium id, and refusing those that an agent cannot use."""

from __future__ import annotations

import importlib
import inspect
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hyperrl.errors import ConfigError, MissingExtraError, UnsupportedSpaceError, unknown_name
from hyperrl_envs.registration import register

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from hyperrl.config import RunConfig

_LOG = logging.getLogger(__name__)

register()


def check_env_id(env_id: str) -> None:
    """Refuse an environment id that Gymnasium does not know.

    Args:
        env_id: The id, optionally "module:id" to import the module that registers it first.

    Raises:
        UnknownNameError: There is no such id; the sentence has the nearest one.
        ConfigError: The module before the colon cannot be imported.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the module {module!r} of the environment {env_id!r} cannot be imported: {error}"
            ) from error
    if name not in gym.registry:
        raise unknown_name("environment", name, gym.registry)


def make_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> gym.Env[Any, Any]:
    """Build one environment.

    Args:
        env_id: A registered id.
        env_kwargs: Keyword arguments of the environment.

    Raises:
        UnknownNameError: There is no such id.
        MissingExtraError: The environment needs a package that is not installed.
        ConfigError: The environment refuses its keyword arguments.
    """
    check_env_id(env_id)
    _quieten_mujoco()
    try:
        return gym.make(env_id, **(env_kwargs or {}))
    except (gym.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise MissingExtraError(f"the environment {env_id!r} needs another package: {error}") from error
    except (TypeError, ValueError, AttributeError, ImportError, gym.error.Error) as error:
        raise ConfigError(f"the environment {env_id!r} cannot be built: {error}") from error


def make_vec_env(
    env_id: str,
    env_kwargs: Mapping[str, Any],
    n_envs: int,
    seed: int,
    *,
    native: bool = False,
    threads: int = 1,
) -> VecEnv:
    """Build environments that are stepped together in this process.

    Each has a `Monitor`, or, where they are native, the infos that a `Monitor` gives.

    Args:
        env_id: A registered id.
        env_kwargs: Keyword arguments of each environment.
        n_envs: How many.
        seed: Seed of the first; the others take the numbers that follow.
        native: Whether MuJoCo is stepped without a Python environment around each simulation: the same bits
            in less time, for the ids in `hyperrl_envs.native.SUPPORTED` and
            `hyperrl_envs.contextual.native.SUPPORTED`.
        threads: Threads that step, for native environments.

    Raises:
        UnknownNameError: There is no such id, or no such keyword argument of a native environment.
        UnsupportedEnvError: The environment cannot be stepped natively.
        MissingExtraError: The environment needs a package that is not installed.
        ConfigError: The environment refuses its keyword arguments, or threads are asked for without `native`.
    """
    if native:
        return _make_native(env_id, env_kwargs, n_envs, seed, threads)
    if threads != 1:
        raise ConfigError(f"threads = {threads} needs native = True: other environments are stepped by one")
    from stable_baselines3.common.env_util import make_vec_env as make

    return make(lambda: make_env(env_id, env_kwargs), n_envs=n_envs, seed=seed)


def make_training_envs(config: RunConfig, seed: int) -> VecEnv:
    """Build the environments that a run trains in, on a GPU, natively, in this process or in one each.

    Where only Gymnasium's environments take the keyword arguments, a warning says so and they are built.

    Args:
        config: The run's configuration.
        seed: Seed of the first; the others take the numbers that follow.
    """
    if config.simulator == "warp":
        return _make_warp(config, seed)
    if not config.workers:
        native = config.native and is_native(config.env, config.env_kwargs)
        # One agent's few environments are stepped fastest by one thread.
        threads = config.threads if native and config.seeds > 1 else 1
        count = config.n_envs * config.seeds
        return make_vec_env(config.env, config.env_kwargs, count, seed, native=native, threads=threads)
    import multiprocessing

    from stable_baselines3.common.env_util import make_vec_env as make

    from hyperrl.sb3.workers import WorkerVecEnv
    from hyperrl_envs.saved_state import capture_plain, restore_plain

    # Each environment gets Stable-Baselines3's Monitor: import it once, not once in every process.
    multiprocessing.set_forkserver_preload(["stable_baselines3.common.monitor"])
    settings = {
        "step_timeout": config.step_timeout,
        "restarts": config.worker_restarts,
        "capture": capture_plain,
        "restore": restore_plain,
    }
    return make(
        lambda: make_env(config.env, config.env_kwargs),
        n_envs=config.n_envs * config.seeds,
        seed=seed,
        vec_env_cls=WorkerVecEnv,
        vec_env_kwargs=settings,
    )


def check_spaces(env: gym.Env[Any, Any], agent: str, policy: str) -> int:
    """Refuse an environment whose spaces the agent or the policy cannot use.

    Args:
        env: The environment.
        agent: The agent's name, for messages.
        policy: Name of the policy.

    Returns:
        The number of action dimensions.

    Raises:
        UnsupportedSpaceError: The actions are not a bounded Box, or the policy does not fit the observations.
    """
    actions, observations = env.action_space, env.observation_space
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    if not isinstance(actions, spaces.Box):
        raise UnsupportedSpaceError(
            f"{agent} needs a Box action space, but {name} has {actions}: "
            f"choose an environment with continuous actions"
        )
    if not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        raise UnsupportedSpaceError(
            f"{agent} needs bounded actions, but {name} has {actions}: wrap it in RescaleAction"
        )
    if isinstance(observations, spaces.Dict) != (policy == "MultiInputPolicy"):
        right = "MultiInputPolicy" if isinstance(observations, spaces.Dict) else "MlpPolicy"
        raise UnsupportedSpaceError(
            f"the policy {policy} does not fit the {type(observations).__name__} observations of {name}: "
            f"use {right}"
        )
    return int(np.prod(actions.shape))


def is_native(env_id: str, env_kwargs: Mapping[str, Any]) -> bool:
    """Return whether native environments can stand for those that Gymnasium builds.

    Where they could but for a keyword argument, a warning says so.

    Args:
        env_id: A registered id.
        env_kwargs: Keyword arguments that Gymnasium's environment takes.
    """
    from hyperrl_envs.contextual.native import supports as supports_contextual
    from hyperrl_envs.native import supports

    if supports_contextual(env_id):
        from hyperrl_envs.contextual.native.build import unsupported
    elif supports(env_id):
        from hyperrl_envs.native.build import unsupported
    else:
        return False
    argument = unsupported(env_id, env_kwargs)
    if argument is not None:
        sentence = (
            f"{env_id} is simulated by Gymnasium's own environments: native ones do not take {argument}"
        )
        warnings.warn(sentence, stacklevel=4)
    return argument is None


def _make_native(env_id: str, env_kwargs: Mapping[str, Any], n_envs: int, seed: int, threads: int) -> VecEnv:
    from hyperrl_envs.contextual.native import make_contextual, supports
    from hyperrl_envs.native import make_native

    check_env_id(env_id)
    make: Callable[..., VecEnv] = make_contextual if supports(env_id) else make_native
    _check_own_arguments(env_id, env_kwargs, make)
    _quieten_mujoco()
    return make(env_id, n_envs, seed, threads=threads, **env_kwargs)


def _check_own_arguments(env_id: str, env_kwargs: Mapping[str, Any], make: Callable[..., VecEnv]) -> None:
    """Refuse arguments of a factory: what it takes for itself is no argument of an environment."""
    for name in inspect.signature(make).parameters:
        if name in env_kwargs:
            raise ConfigError(f"the environment {env_id!r} has no keyword argument {name!r}")


def _make_warp(config: RunConfig, seed: int) -> VecEnv:
    from hyperrl_envs.warp import make_warp

    check_env_id(config.env)
    _check_own_arguments(config.env, config.env_kwargs, make_warp)
    _quieten_mujoco()
    count = config.n_envs * config.seeds
    return make_warp(config.env, count, seed, device=config.device, **config.env_kwargs)


def _quieten_mujoco() -> None:
    """Send MuJoCo's warnings to `logging`; MuJoCo would write a MUJOCO_LOG.TXT into the working directory."""
    try:
        import mujoco
    except ImportError:
        return
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log_mujoco_warning)


def _log_mujoco_warning(message: str) -> None:
    # Each of Gymnasium's own models brings this one: nothing that a user can act upon.
    level = logging.DEBUG if "settotalmass" in message else logging.WARNING
    _LOG.log(level, "MuJoCo: %s", message)
