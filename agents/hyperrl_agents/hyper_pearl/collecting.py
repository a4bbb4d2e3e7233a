"""Episodes of chosen tasks for the replay, each played by one latent from its beginning to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hyperrl.context.space import Array
from hyperrl.sb3.meta.episodes import EpisodeCollector, Told
from hyperrl_agents.hyper_pearl.policies import HyperPEARLPolicy
from hyperrl_agents.hyper_pearl.replay import TaskReplay

_Ints = NDArray[np.int64]

LatentsOf = Callable[[_Ints], Tensor]
"""From the numbers of tasks ``[J]`` to a latent for an episode of each, ``[J, C]``."""


class Collector:
    """Plays tasks until there are as many steps of each as are asked for, in whole episodes.

    Args:
        env: The environments.
        policy: What acts.
        replay: Where the episodes go.
        pool: The tasks, raw, ``[n_tasks, d]``.
        horizon: Steps of the longest episode; None where nobody knows.

    Attributes:
        playing: Which environments play an episode that is kept, in the step that is being made.
    """

    def __init__(
        self, env: VecEnv, policy: HyperPEARLPolicy, replay: TaskReplay, pool: Array, horizon: int | None
    ) -> None:
        self._episodes = EpisodeCollector(env)
        self._policy, self._replay, self._pool = policy, replay, pool
        self._horizon = horizon
        assert isinstance(env.action_space, spaces.Box)
        self._low, self._high = env.action_space.low, env.action_space.high
        self.playing: NDArray[np.bool_] = np.zeros(env.num_envs, np.bool_)

    def collect(
        self,
        tasks: _Ints,
        steps: int,
        latents: LatentsOf,
        rng: np.random.Generator,
        told: Told,
        *,
        informs: bool,
        one_by_one: bool = False,
    ) -> bool:
        """Play episodes of tasks side by side.

        Args:
            tasks: Their numbers in the pool, ``[T]``, each once.
            steps: Steps of each, at least; its last episode is played to its end.
            latents: Gives each episode its latent.
            rng: Draws the actions.
            told: Called after every step; False ends all, and the unfinished episodes are lost.
            informs: Whether the encoder may see the episodes.
            one_by_one: Whether the latent of a task's next episode may depend on its last one.

        Returns:
            Whether nobody ended it.
        """
        missing = np.full(len(tasks), steps)
        usual = self._horizon or steps
        while (missing > 0).any():
            counts = np.maximum(0, -(-missing // usual))
            jobs = np.repeat(tasks, np.minimum(counts, 1) if one_by_one else counts)
            lengths = self._play(jobs, latents(jobs), rng, told, informs)
            if lengths is None:
                return False
            for place, task in enumerate(tasks):
                missing[place] -= lengths[jobs == task].sum()
            # Episodes that end for good are shorter than they might be.
            usual = max(1, int(lengths.mean()))
        return True

    def _play(
        self, jobs: _Ints, latents: Tensor, rng: np.random.Generator, told: Told, informs: bool
    ) -> _Ints | None:
        policy, device = self._policy, latents.device
        act_in = policy.actor.act_in(latents)

        def act(features: NDArray[np.float32], numbers: _Ints) -> NDArray[np.float32]:
            self.playing = numbers >= 0
            states = torch.from_numpy(features[:, : policy.state_size]).to(device)
            tasks = torch.from_numpy(np.maximum(numbers, 0)).to(device)
            with torch.no_grad():
                mean, log_std = act_in(tasks, states)
            noise = rng.standard_normal(mean.shape, dtype=np.float32)
            scaled = np.tanh(mean.cpu().numpy() + log_std.exp().cpu().numpy() * noise)
            return self._unscaled(scaled)

        played = self._episodes.play(self._pool[jobs], act, told)
        if played is None:
            return None
        size = policy.state_size
        for row, (task, length) in enumerate(zip(jobs, played.lengths, strict=True)):
            self._replay.add_episode(
                int(task),
                played.features[row, :length, :size],
                self._scaled(played.actions[row, :length]),
                played.rewards[row, :length],
                played.next_features[row, :length, :size],
                played.terminated[row, :length],
                informs=informs,
            )
        return played.lengths

    def _unscaled(self, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """From [-1, 1] to the environment's range."""
        unscaled: NDArray[np.float32] = self._low + 0.5 * (actions + 1.0) * (self._high - self._low)
        return unscaled

    def _scaled(self, actions: NDArray[Any]) -> NDArray[np.float32]:
        """From the environment's range to [-1, 1]."""
        scaled = 2.0 * (actions - self._low) / (self._high - self._low) - 1.0
        clipped: NDArray[np.float32] = np.clip(scaled, -1.0, 1.0).astype(np.float32)
        return clipped
