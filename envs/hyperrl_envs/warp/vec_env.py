"""Environments simulated with MuJoCo Warp as a vectorised environment of Stable-Baselines3."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
from torch import Tensor

from hyperrl.errors import ShapeError, UnsupportedEnvError
from hyperrl_envs.native.env import CallOrderError
from hyperrl_envs.warp.simulation import TensorStep, WarpSimulation


class WarpVecEnv(VecEnv):
    """Environments of one task simulated on a device, in place of `DummyVecEnv` with a `Monitor` each.

    The spaces are Gymnasium's, so a model that was trained here goes on in Gymnasium's environment; the
    numbers are float32 ones. Each info has "TimeLimit.truncated", and at the end of an episode
    "terminal_observation" and "episode" with the return `r`, the length `l` and the seconds `t` since this
    object was built.

    Args:
        simulation: What is stepped.

    Attributes:
        simulation: The same.
    """

    def __init__(self, simulation: WarpSimulation) -> None:
        self.simulation = simulation
        self._started = time.time()
        self._actions: Tensor | None = None
        self._returns = np.zeros(simulation.n_envs)
        self._lengths = np.zeros(simulation.n_envs, np.int64)
        observations = spaces.Box(-np.inf, np.inf, (simulation.observation_size,), np.float64)
        super().__init__(simulation.n_envs, observations, simulation.action_space)

    def reset_tensors(self) -> Tensor:
        """Begin new episodes, see `reset`; the observations stay on the device."""
        self._actions = None
        self._returns[:], self._lengths[:] = 0.0, 0
        self.simulation.seed(self._seeds)
        self._reset_seeds()
        self._reset_options()
        return self.simulation.reset()

    def step_tensors(self, actions: Tensor) -> TensorStep:
        """Step with everything on the device, see `WarpSimulation.step_tensors`; infos do not count it."""
        return self.simulation.step_tensors(actions)

    def reset(self) -> VecEnvObs:
        """Begin new episodes in all environments, with the seeds of the last call of `seed`.

        Returns:
            Observations of shape [n, observation size], float64.
        """
        return _numpy(self.reset_tensors())

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions of the next step.

        Args:
            actions: Shape [n, number of actions].

        Raises:
            ShapeError: The shape is another.
        """
        # A copy: the caller may write into theirs before the step is made.
        array = np.array(actions, np.float32)
        shape = (self.num_envs, *self.simulation.action_space.shape)
        if array.shape != shape:
            raise ShapeError(f"step needs actions of shape {shape}, got {array.shape}")
        self._actions = torch.from_numpy(np.ascontiguousarray(array)).to(self.simulation.device)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; those whose episode ends begin another one.

        Returns:
            Observations [n, observation size] in float64, rewards [n] in float32, whether episodes ended [n],
            and one info for each environment.

        Raises:
            CallOrderError: There are no actions, or the environments were never reset.
        """
        if self._actions is None:
            raise CallOrderError("step_wait was called without a step under way: call step_async first")
        actions, self._actions = self._actions, None
        step = self.simulation.step_tensors(actions)
        rewards, terminated, truncated = (part.cpu().numpy() for part in step[1:4])
        self._returns += rewards
        self._lengths += 1
        late = truncated & ~terminated
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": value} for value in late.tolist()]
        done = terminated | truncated
        ended = done.nonzero()[0]
        if len(ended):
            # Only the rows that are asked for leave the device.
            last = _numpy(step.final_observations[torch.from_numpy(ended).to(self.simulation.device)])
            self._end(ended.tolist(), last, infos)
        return _numpy(step.observations), rewards, done, infos

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return None for each environment: nothing is drawn."""
        return [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute for each environment, see `VecEnv.get_attr`.

        They have `spec`, `render_mode`, `model`, `action_space` and `observation_space` in common and nothing
        of their own.

        Raises:
            AttributeError: They have no such attribute.
        """
        owner: Any = self.simulation if attr_name in ("spec", "model") else self
        if attr_name == "render_mode":
            value = None
        elif attr_name in ("spec", "model", "action_space", "observation_space"):
            value = getattr(owner, attr_name)
        else:
            raise AttributeError(f"environments simulated with MuJoCo Warp have no attribute {attr_name!r}")
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the environments have nothing of their own.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(
            f"{attr_name!r} cannot be set: environments simulated with MuJoCo Warp have no attributes of "
            "their own"
        )

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refuse: the environments have nothing of their own.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(f"environments simulated with MuJoCo Warp have no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Return that no environment is wrapped, also not in a `Monitor`: there is no Python environment."""
        return [False for _ in self._get_indices(indices)]

    def capture_env_states(self) -> list[dict[str, Any]]:
        """Return one state for all environments, see `WarpSimulation.get_state`; checkpoints call this."""
        episodes = {"returns": self._returns.copy(), "lengths": self._lengths.copy()}
        return [{**self.simulation.get_state(), "episodes": episodes}]

    def restore_env_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Bring all environments to such a state.

        Raises:
            UnsupportedEnvError: It is of other environments.
        """
        if len(states) != 1 or "arrays" not in states[0]:
            raise UnsupportedEnvError("the state is not of environments simulated with MuJoCo Warp")
        state = dict(states[0])
        episodes = state.pop("episodes")
        self._actions = None
        self.simulation.set_state(state)
        self._returns[:], self._lengths[:] = episodes["returns"], episodes["lengths"]

    def _end(self, ended: Iterable[int], last: NDArray[Any], infos: list[dict[str, Any]]) -> None:
        seconds = round(time.time() - self._started, 6)
        for index, observation in zip(ended, last, strict=True):
            episode = {
                "r": round(float(self._returns[index]), 6),
                "l": int(self._lengths[index]),
                "t": seconds,
            }
            infos[index] |= {"episode": episode, "terminal_observation": observation}
            self._returns[index], self._lengths[index] = 0.0, 0


def make_warp(
    env_id: str,
    n_envs: int = 1,
    seed: int | None = None,
    *,
    device: str = "auto",
    captured: bool = True,
    nconmax: int | None = None,
    njmax: int | None = None,
    **env_kwargs: Any,
) -> WarpVecEnv:
    """Build environments simulated with MuJoCo Warp and seed them, as `make_native` does.

    Args:
        env_id: One of `hyperrl_envs.warp.SUPPORTED`.
        n_envs: How many environments.
        seed: Of the first environment and of the action space; the others take the numbers that follow. None
            draws one by chance.
        device: See `WarpSimulation`.
        captured: See `WarpSimulation`.
        nconmax: See `WarpSimulation`.
        njmax: See `WarpSimulation`.
        **env_kwargs: As for `gymnasium.make`.

    Raises:
        MissingExtraError: MuJoCo Warp is not installed.
        UnsupportedEnvError: The task cannot be simulated with it.
        UnknownNameError: There is no such keyword argument.
        ConfigError: A value is wrong.
    """
    simulation = WarpSimulation(
        env_id, n_envs, device=device, captured=captured, nconmax=nconmax, njmax=njmax, **env_kwargs
    )
    venv = WarpVecEnv(simulation)
    if seed is not None:
        venv.action_space.seed(seed)
    venv.seed(seed)
    return venv


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.cpu().numpy().astype(np.float64)
