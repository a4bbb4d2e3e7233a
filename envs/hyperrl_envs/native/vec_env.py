"""Native MuJoCo environments as a vectorised environment of Stable-Baselines3."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from hyperrl_envs.native.build import build_simulations
from hyperrl_envs.native.env import CallOrderError, NativeEnv
from hyperrl_envs.native.episodes import Ended, Episodes, Step
from hyperrl_envs.native.task import Array


class SimulationsVecEnv(VecEnv):
    """Simulations as Stable-Baselines3 sees them.

    Args:
        simulations: The environments.
        observation_space: Of one environment as it is shown; by default as the simulations have it.
        step_infos: False leaves out of the infos what only describes the step, such as the terms of the
            reward; no algorithm reads it.

    Attributes:
        envs: The environments one by one.
    """

    def __init__(
        self, simulations: Episodes, *, observation_space: Any = None, step_infos: bool = True
    ) -> None:
        self._simulations = simulations
        self.envs = simulations.envs
        self._step_infos = step_infos
        self._started = time.time()
        self._actions: NDArray[Any] | None = None
        first = self.envs[0]
        super().__init__(len(self.envs), observation_space or first.observation_space, first.action_space)
        self.metadata = first.metadata

    def reset(self) -> VecEnvObs:
        """Begin new episodes in all environments, with the seeds of the last call of `seed`.

        Returns:
            Observations of shape [n, observation size], float64.
        """
        self._actions = None
        observations, self.reset_infos = self._simulations.reset(self._seeds)
        self._reset_seeds()
        self._reset_options()
        return self._shown(observations, range(self.num_envs))

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions of the next step.

        Args:
            actions: Shape [n, number of actions].

        Raises:
            ShapeError: The shape is another.
        """
        self._actions = self._simulations.check_actions(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; those whose episode ends begin another one.

        Returns:
            Observations [n, observation size] in float64, rewards [n] in float32, whether episodes ended [n],
            and one info for each environment.

        Raises:
            CallOrderError: There are no actions, or an environment was never reset.
        """
        if self._actions is None:
            raise CallOrderError("step_wait was called without a step under way: call step_async first")
        actions, self._actions = self._actions, None
        step = self._simulations.step(actions)
        infos = self._infos(step)
        for index, ended in step.ended.items():
            seconds = round(time.time() - self._started, 6)
            episode = {"r": round(ended.episode_return, 6), "l": ended.length, "t": seconds}
            infos[index] |= {"episode": episode, "terminal_observation": self._last(index, ended)}
            self.reset_infos[index] = ended.reset_info
        observations = self._shown(step.observations, range(self.num_envs))
        return observations, step.rewards.astype(np.float32), step.done, infos

    def close(self) -> None:
        """End the threads and free what pictures needed."""
        self._simulations.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return a picture of each environment, [height, width, 3], or None each without a render mode."""
        if self.render_mode is None:
            warnings.warn("there are no pictures without render_mode='rgb_array'", stacklevel=2)
        return [env.render() for env in self.envs]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of environments, see `VecEnv.get_attr` and `NativeEnv`."""
        return [getattr(env, attr_name) for env in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of environments, see `VecEnv.set_attr`."""
        for env in self._chosen(indices):
            setattr(env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of environments, see `VecEnv.env_method` and `NativeEnv`."""
        return [getattr(env, method_name)(*method_args, **method_kwargs) for env in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Return that no environment is wrapped, also not in a `Monitor`: there is no Python environment."""
        return [False for _ in self._chosen(indices)]

    def get_state(self, indices: VecEnvIndices = None) -> list[dict[str, Any]]:
        """Return the states of environments between two steps: simulation, generator, episode so far.

        Args:
            indices: Which environments; all by default.

        Returns:
            Plain data for each: numbers, strings, arrays and containers of these.

        Raises:
            UnsupportedEnvError: A MuJoCo plugin keeps memory of its own.
        """
        return self._simulations.capture(list(self._get_indices(indices)))

    def set_state(self, states: Sequence[Mapping[str, Any]], indices: VecEnvIndices = None) -> None:
        """Bring environments to states of `get_state`, from which they continue bit for bit.

        Args:
            states: One for each of the environments.
            indices: Which environments; all by default.

        Raises:
            ConfigError: There are more or fewer states.
            UnsupportedEnvError: A state is of another task, model or MuJoCo.
        """
        self._actions = None
        self._simulations.restore(states, list(self._get_indices(indices)))

    def capture_env_states(self) -> list[dict[str, Any]]:
        """Return the states of all environments, see `get_state`; checkpoints of runs call this."""
        return self.get_state()

    def restore_env_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Bring all environments to such states, see `set_state`."""
        self.set_state(states)

    def _shown(self, observations: Array, indices: Sequence[int]) -> VecEnvObs:
        """Return observations [len(indices), size] of some environments as they are shown."""
        return observations

    def _last(self, index: int, ended: Ended) -> Any:
        """Return the last observation of an environment's episode as it is shown."""
        return ended.observation

    def _chosen(self, indices: VecEnvIndices) -> list[NativeEnv]:
        return [self.envs[index] for index in self._get_indices(indices)]

    def _infos(self, step: Step) -> list[dict[str, Any]]:
        late = (step.truncated & ~step.terminated).tolist()
        if not self._step_infos:
            return [{"TimeLimit.truncated": value} for value in late]
        # Numbers become Python's, arrays stay arrays, one for each environment.
        columns = [values.tolist() if values.ndim == 1 else values.copy() for values in step.terms.values()]
        names = (*step.terms, "TimeLimit.truncated")
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, late, strict=True)]


class NativeMujocoVecEnv(SimulationsVecEnv):
    """MuJoCo tasks stepped together, in place of `DummyVecEnv` over `gymnasium.make` with a `Monitor` each.

    Observations, rewards, ends of episodes, infos and random numbers are bit for bit the same. Each info has
    what Gymnasium's has, "TimeLimit.truncated", and at the end of an episode "terminal_observation" and
    "episode" with the return `r`, the length `l` and the seconds `t` since this object was built.

    Args:
        env_id: One of `hyperrl_envs.native.SUPPORTED`.
        n_envs: How many environments.
        threads: How many threads step. More than one pays for expensive models such as Humanoid's.
        models: One `mujoco.MjModel` for each environment, used as it is; by default they share one.
        step_infos: False leaves out of the infos what only describes the step, such as the terms of the
            reward; no algorithm reads it.
        **env_kwargs: As for `gymnasium.make`.

    Attributes:
        envs: The environments one by one.

    Raises:
        UnsupportedEnvError: The task cannot be stepped natively.
        UnknownNameError: There is no such keyword argument.
        ConfigError: A value is wrong.
        ShapeError: The models are of different structure.
    """

    def __init__(
        self,
        env_id: str,
        n_envs: int = 1,
        *,
        threads: int = 1,
        models: Sequence[Any] | None = None,
        step_infos: bool = True,
        **env_kwargs: Any,
    ) -> None:
        simulations = build_simulations(env_id, n_envs, env_kwargs, threads=threads, models=models)
        super().__init__(simulations, step_infos=step_infos)


def make_native(
    env_id: str,
    n_envs: int = 1,
    seed: int | None = None,
    *,
    threads: int = 1,
    models: Sequence[Any] | None = None,
    step_infos: bool = True,
    **env_kwargs: Any,
) -> NativeMujocoVecEnv:
    """Build native environments and seed them, as Stable-Baselines3's `make_vec_env` does.

    Args:
        env_id: One of `hyperrl_envs.native.SUPPORTED`.
        n_envs: How many environments.
        seed: Of the first environment and of the action space; the others take the numbers that follow. None
            draws one by chance.
        threads: See `NativeMujocoVecEnv`.
        models: See `NativeMujocoVecEnv`.
        step_infos: See `NativeMujocoVecEnv`.
        **env_kwargs: As for `gymnasium.make`.

    Raises:
        UnsupportedEnvError: The task cannot be stepped natively.
        UnknownNameError: There is no such keyword argument.
        ConfigError: A value is wrong.
        ShapeError: The models are of different structure.
    """
    venv = NativeMujocoVecEnv(
        env_id, n_envs, threads=threads, models=models, step_infos=step_infos, **env_kwargs
    )
    if seed is not None:
        venv.action_space.seed(seed)
    venv.seed(seed)
    return venv
