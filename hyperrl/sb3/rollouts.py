"""The collection of rollouts as Stable-Baselines3 does it, with the acting and the values left open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hyperrl.errors import NonFiniteError
from hyperrl.sb3.finite import first_non_finite, non_finite_weight, place

Act = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""From observations ``[N, ...]`` of all environments to actions ``[N, ...]``, values ``[N, 1]`` and the
logarithms of the actions' probabilities ``[N]``."""


class Rollouts(OnPolicyAlgorithm):
    """Mixin for on-policy algorithms that act in their own way while they collect.

    Rollouts are those of Stable-Baselines3 up to rounding: the same random numbers in the same order, the
    same calls of callbacks with the same local names. Actions are a bounded Box.
    """

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect experience with the current policy, see `OnPolicyAlgorithm.collect_rollouts`.

        Args:
            env: The environments.
            callback: Called at the start, on every step and at the end.
            rollout_buffer: The buffer to fill.
            n_rollout_steps: Steps of each environment.

        Returns:
            Whether the rollout is complete; False if the callback ended it.

        Raises:
            NonFiniteError: The policy would give an action that is not finite.
        """
        if not self._collects_itself():
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        assert self._last_obs is not None
        self.policy.set_training_mode(False)
        n_steps = 0
        rollout_buffer.reset()
        callback.on_rollout_start()
        # A callback may have restored a checkpoint, and with it other weights.
        act = self._make_act(rollout_buffer)
        observations = torch.from_numpy(rollout_buffer.observations)
        assert isinstance(self.action_space, spaces.Box)
        low, high = self.action_space.low, self.action_space.high
        while n_steps < n_rollout_steps:
            # Stored first and read from there: a compiled policy takes memory of one layout.
            rollout_buffer.observations[n_steps] = self._as_array(self._last_obs)
            obs_tensor = observations[n_steps].to(self.device)
            with torch.no_grad():
                drawn, values, log_probs = act(obs_tensor)
            actions: NDArray[Any] = drawn.cpu().numpy()
            self._require_finite(actions)
            # What `np.clip` computes, in less time.
            clipped_actions = np.minimum(np.maximum(actions, low), high)
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            self.num_timesteps += env.num_envs
            # Callbacks know these variables by the names that they have in Stable-Baselines3.
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            n_steps += 1
            self._bootstrap_time_limits(rewards, dones, infos)
            self._store(rollout_buffer, actions, rewards, values, log_probs)
            ends = self._ends(dones, infos)
            self._last_obs, self._last_episode_starts = new_obs, ends  # type: ignore[assignment]
        every = np.arange(env.num_envs)
        last = torch.as_tensor(self._as_array(new_obs), device=self.device)
        values = self._values_of(last, every)
        rollout_buffer.compute_returns_and_advantage(last_values=values, dones=ends)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _collects_itself(self) -> bool:
        """Return whether this rollout is collected here; otherwise Stable-Baselines3 itself collects it."""
        return True

    def _ends(self, dones: NDArray[Any], infos: list[dict[str, Any]]) -> NDArray[Any]:
        """Return where discounted returns end ``[N]``: where episodes do, unless a subclass says otherwise.

        Args:
            dones: Whether the episode of each environment has ended.
            infos: What the environments told.
        """
        return dones

    def _make_act(self, rollout_buffer: RolloutBuffer) -> Act:
        """Return what acts in this rollout, called once where it begins.

        Args:
            rollout_buffer: The buffer, empty.
        """
        raise NotImplementedError

    def _as_array(self, observations: Any) -> NDArray[Any]:
        """Return observations of all environments as one array ``[N, ...]``.

        They are one, unless a subclass takes others.

        Args:
            observations: What the environments gave.
        """
        array: NDArray[Any] = observations
        return array

    def _values_of(self, observations: Tensor, environments: NDArray[np.int64]) -> Tensor:
        """Return the values of observations.

        Args:
            observations: ``[B, ...]``.
            environments: The number of the environment that each is of, ``[B]``.

        Returns:
            ``[B, 1]``.
        """
        with torch.no_grad():
            return self.policy.predict_values(observations)

    def _require_finite(self, actions: NDArray[Any]) -> None:
        # Stable-Baselines3's distributions refuse NaN; a graph would hand it on to the simulation.
        if not np.isfinite(actions).all():
            weight = non_finite_weight(self.policy)
            reason = f"its weight {weight} is not finite" if weight else "though all its weights are finite"
            index = first_non_finite(actions) or (0,)
            where = place(index[1:])
            raise NonFiniteError(
                f"the policy would give environment {index[0]} an action of {actions[index]}"
                f"{where and f' ({where})'}, which is not finite, at step {self.num_timesteps}: {reason}"
            )

    def _bootstrap_time_limits(
        self, rewards: NDArray[Any], dones: NDArray[Any], infos: list[dict[str, Any]]
    ) -> None:
        """Add to the last reward of an episode cut short what would have come after it."""
        for index in np.flatnonzero(dones):
            info = infos[index]
            if info.get("terminal_observation") is not None and info.get("TimeLimit.truncated", False):
                observation, _ = self.policy.obs_to_tensor(info["terminal_observation"])
                assert isinstance(observation, Tensor)
                value = self._values_of(observation, np.array([index]))[0]
                rewards[index] += (self.gamma * value).item()

    def _store(
        self, buffer: RolloutBuffer, actions: NDArray[Any], rewards: NDArray[Any], values: Any, log_probs: Any
    ) -> None:
        """Do what `RolloutBuffer.add` does, but for the observations, without copies on the way."""
        position = buffer.pos
        buffer.actions[position] = actions.reshape(buffer.n_envs, buffer.action_dim)
        buffer.rewards[position] = rewards
        buffer.episode_starts[position] = self._last_episode_starts
        buffer.values[position] = values.cpu().numpy()[:, 0]
        buffer.log_probs[position] = log_probs.cpu().numpy()
        buffer.pos = position + 1
        buffer.full = buffer.pos == buffer.buffer_size
