"""Contextual environments that are stepped together, as a vectorised environment of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from hyperrl.errors import ConfigError, ShapeError
from hyperrl_envs.contextual.native.build import build_contextual
from hyperrl_envs.contextual.native.contexts import ChosenContexts, copied
from hyperrl_envs.contextual.native.simulations import ContextualSimulations
from hyperrl_envs.contextual.native.systems import SystemSimulations
from hyperrl_envs.native.episodes import Ended, Step
from hyperrl_envs.native.vec_env import SimulationsVecEnv


class ContextualVecEnv(SimulationsVecEnv):
    """Contextual tasks stepped together: `DummyVecEnv` over `gymnasium.make` with a `Monitor` each, faster.

    Observations, rewards, ends of episodes, infos, random numbers and contexts are bit for bit the same. Each
    environment has a context, and a model, of its own; `env_method` reaches `set_next_context`,
    `set_fixed_context` and `set_sampler` of each.

    Args:
        env_id: One of `hyperrl_envs.contextual.native.SUPPORTED`.
        n_envs: How many environments.
        threads: How many threads step.
        step_infos: False leaves out of the infos what only describes the step: the terms of the reward, and
            contexts but at the ends of episodes.
        **env_kwargs: As for `gymnasium.make`: those of the suite, see `Suite.plan`, and of the task.

    Attributes:
        envs: The environments one by one.

    Raises:
        UnsupportedEnvError: The task cannot be stepped natively.
        HyperRLError: A keyword argument is wrong.
    """

    _simulations: ContextualSimulations | SystemSimulations

    def __init__(
        self, env_id: str, n_envs: int = 1, *, threads: int = 1, step_infos: bool = True, **env_kwargs: Any
    ) -> None:
        simulations = build_contextual(env_id, n_envs, env_kwargs, threads=threads)
        super().__init__(
            simulations, observation_space=simulations.contexts.observer.space, step_infos=step_infos
        )

    def reset(self) -> VecEnvObs:
        """Begin new episodes in all environments, with the seeds of the last call of `seed`.

        Contexts come from the options that `set_options` was given, where they name some.

        Returns:
            Observations with contexts, float32.

        Raises:
            HyperRLError: A context is not in the space; nothing has changed then.
        """
        chosen = [env.context_of(self._options[env.index]) for env in self._each()]
        for env, context in zip(self._each(), chosen, strict=True):
            env.give(context)
        return super().reset()

    def begin(
        self, indices: Sequence[int], seeds: Sequence[int | None], contexts: Sequence[Any] | ArrayLike
    ) -> VecEnvObs:
        """Begin given episodes in some environments; the others stay where they are.

        Args:
            indices: Numbers of the environments, none twice.
            seeds: Seed of each reset; None lets the generators go on.
            contexts: Context of each, as `ContextSpace.arrays` takes them.

        Returns:
            First observations of these environments in the order of `indices`, float32.

        Raises:
            ShapeError: There are more or fewer seeds or contexts than environments.
            ConfigError: There is no such environment, or one is named twice.
            HyperRLError: A context is not in the space; nothing has changed then.
        """
        chosen = [int(index) for index in indices]
        checked = self._simulations.plan.space.arrays(contexts)  # type: ignore[arg-type]
        if not len(chosen) == len(seeds) == len(checked):
            raise ShapeError(
                f"begin needs a seed and a context for each environment, got {len(seeds)} and {len(checked)} "
                f"for {len(chosen)}"
            )
        if len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(self.num_envs)):
            raise ConfigError(
                f"indices must be different numbers from 0 to {self.num_envs - 1}, got {chosen}"
            )
        for index, context in zip(chosen, checked, strict=True):
            self._each()[index].give(context)
        observations, infos = self._simulations.reset(list(seeds), chosen)
        for index, info in zip(chosen, infos, strict=True):
            self.reset_infos[index] = info
        return self._shown(observations, chosen)

    def _each(self) -> Sequence[ChosenContexts]:
        return self._simulations.envs  # type: ignore[return-value]

    def _shown(self, observations: NDArray[np.float64], indices: Sequence[int]) -> VecEnvObs:
        present = self._simulations.contexts
        joined: VecEnvObs = present.observer.join(observations, present.codes[indices])
        return joined

    def _last(self, index: int, ended: Ended) -> Any:
        present = self._simulations.contexts
        code = present.observer.code(present.told_before[index]["context"])
        return present.observer.join(ended.observation, code)

    def _infos(self, step: Step) -> list[dict[str, Any]]:
        infos = super()._infos(step)
        told = self._simulations.contexts.told_before
        for index in range(self.num_envs) if self._step_infos else step.ended:
            infos[index] |= copied(told[index])
        return infos


def make_contextual(
    env_id: str,
    n_envs: int = 1,
    seed: int | None = None,
    *,
    threads: int = 1,
    step_infos: bool = True,
    **env_kwargs: Any,
) -> ContextualVecEnv:
    """Build contextual environments and seed them, as Stable-Baselines3's `make_vec_env` does.

    Args:
        env_id: One of `hyperrl_envs.contextual.native.SUPPORTED`.
        n_envs: How many environments.
        seed: Of the first environment and of the action space; the others take the numbers that follow. None
            draws one by chance.
        threads: See `ContextualVecEnv`.
        step_infos: See `ContextualVecEnv`.
        **env_kwargs: As for `gymnasium.make`.

    Raises:
        UnsupportedEnvError: The task cannot be stepped natively.
        HyperRLError: A keyword argument is wrong.
    """
    venv = ContextualVecEnv(env_id, n_envs, threads=threads, step_infos=step_infos, **env_kwargs)
    if seed is not None:
        venv.action_space.seed(seed)
    venv.seed(seed)
    return venv
