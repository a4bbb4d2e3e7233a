"""Native MuJoCo environments as a vectorised environment of Gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from hyperrl.errors import ConfigError
from hyperrl_envs.native.build import build_simulations
from hyperrl_envs.native.episodes import Step
from hyperrl_envs.native.task import Array

_Bools = NDArray[np.bool_]


class NativeMujocoVectorEnv(VectorEnv[Array, NDArray[Any], NDArray[Any]]):
    """MuJoCo tasks stepped together, in place of `SyncVectorEnv` with `AutoresetMode.SAME_STEP`.

    An environment whose episode ends begins another one in the same step; the last observation and info of
    the old one are in `infos["final_obs"]` and `infos["final_info"]`.

    Args:
        env_id: One of `hyperrl_envs.native.SUPPORTED`.
        num_envs: How many environments.
        threads: How many threads step.
        models: One `mujoco.MjModel` for each environment, used as it is; by default they share one.
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
        num_envs: int = 1,
        *,
        threads: int = 1,
        models: Sequence[Any] | None = None,
        **env_kwargs: Any,
    ) -> None:
        self._simulations = build_simulations(env_id, num_envs, env_kwargs, threads=threads, models=models)
        self.envs = self._simulations.envs
        first = self.envs[0]
        self.num_envs = len(self.envs)
        self.single_observation_space, self.single_action_space = first.observation_space, first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)
        self.spec, self.render_mode = first.spec, first.render_mode
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Begin new episodes in all environments.

        Args:
            seed: Of the first environment, the others take the numbers that follow; or one for each.
            options: Without effect, as for Gymnasium's tasks; "reset_mask" is refused.

        Returns:
            Observations [n, observation size] in float64, and the infos.

        Raises:
            ConfigError: The number of seeds is not that of the environments, or there is a mask.
        """
        if options and "reset_mask" in options:
            raise ConfigError("reset_mask has no use where ended episodes are followed by new ones at once")
        seeds = [seed] * self.num_envs if seed is None else seed
        if isinstance(seeds, int | np.integer):
            seeds = [int(seeds) + index for index in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise ConfigError(f"there are {len(seeds)} seeds for {self.num_envs} environments: give one each")
        observations, reset_infos = self._simulations.reset(seeds)
        infos: dict[str, Any] = {}
        for index, info in enumerate(reset_infos):
            infos = self._add_info(infos, info, index)
        return observations, infos

    def step(self, actions: NDArray[Any]) -> tuple[Array, Array, _Bools, _Bools, dict[str, Any]]:
        """Step all environments; those whose episode ends begin another one.

        Args:
            actions: Shape [n, number of actions].

        Returns:
            Observations [n, observation size] and rewards [n] in float64, whether episodes terminated [n] and
            were truncated [n], and the infos.

        Raises:
            ShapeError: The shape is another.
            CallOrderError: An environment was never reset.
        """
        step = self._simulations.step(self._simulations.check_actions(actions))
        return step.observations, step.rewards, step.terminated, step.truncated, self._infos(step)

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture of each environment, or None without a render mode."""
        return None if self.render_mode is None else tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads and free what pictures needed."""
        self._simulations.close()

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return an attribute of each environment, or what it returns where it is a method."""
        values = [getattr(env, name) for env in self.envs]
        return tuple(value(*args, **kwargs) if callable(value) else value for value in values)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each environment."""
        return self.call(name)

    def _infos(self, step: Step) -> dict[str, Any]:
        going_on = np.ones(self.num_envs, bool)
        going_on[list(step.ended)] = False
        infos: dict[str, Any] = {}
        for name, values in step.terms.items() if going_on.any() else ():
            infos[name], infos[f"_{name}"] = values.copy(), going_on.copy()
            infos[name][~going_on] = 0
        for index, ended in step.ended.items():
            last = {name: values[index] for name, values in step.terms.items()}
            final = {"final_obs": ended.observation, "final_info": last}
            infos = self._add_info(infos, final, index)
            infos = self._add_info(infos, ended.reset_info, index)
        return infos
