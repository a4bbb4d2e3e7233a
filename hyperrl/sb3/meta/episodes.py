"""Whole episodes of chosen tasks, many side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.context.space import Array
from hyperrl.errors import ContextError
from hyperrl.sb3.contexts.extractor import flat_observations, ordered_keys
from hyperrl.sb3.meta.tasks import assign, shares

Act = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
"""From features [lanes, F] and the number of each lane's job (-1 for none) to actions [lanes, A], which are
clipped to the action space before they are stepped."""

Told = Callable[[dict[str, Any]], bool]
"""Takes what callbacks of Stable-Baselines3 find in their `locals` after a step; False ends all."""


@dataclass
class Episodes:
    """N episodes, each padded to the longest one.

    Attributes:
        contexts: The task of each, raw, shape [N, d].
        features: Flat observations with the context last, float32, shape [N, T, F].
        actions: As they were given, before clipping, shape [N, T, A].
        rewards: Shape [N, T], 0 behind the end.
        next_features: After each step; the last one of the episode at its end, shape [N, T, F].
        terminated: Whether the step ended the episode for good, not for its time limit, shape [N, T].
        lengths: Steps of each, shape [N].
    """

    contexts: Array
    features: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    next_features: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    lengths: NDArray[np.int64]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which entries are steps and no padding, shape [N, T]."""
        longest = self.rewards.shape[1]
        return np.arange(longest)[None] < self.lengths[:, None]

    @property
    def returns(self) -> NDArray[np.float32]:
        """The undiscounted return of each, shape [N]."""
        totals: NDArray[np.float32] = self.rewards.sum(axis=1)
        return totals


class EpisodeCollector:
    """Plays episodes in environments that are stepped together.

    Args:
        env: The environments, with contexts that can be chosen.
    """

    def __init__(self, env: VecEnv) -> None:
        self._env = env
        space = env.observation_space
        self._keys = ordered_keys(space) if isinstance(space, spaces.Dict) else None
        assert isinstance(env.action_space, spaces.Box)
        self._low, self._high = env.action_space.low, env.action_space.high

    def features(self, observations: Any) -> NDArray[np.float32]:
        """Return observations of n environments as vectors with the context last, shape [n, F]."""
        if self._keys is not None:
            return flat_observations(observations, self._keys)
        array: NDArray[np.float32] = np.asarray(observations, np.float32)
        return array.reshape(len(array), -1)

    def play(self, contexts: Array, act: Act, told: Told = lambda step: True) -> Episodes | None:
        """Play one episode of each task; environment i plays the tasks i, i + num_envs, and so on.

        All environments are reset first. One that has nothing left to do goes on in its last task, which
        nobody looks at, until all are done: numbers of episodes that the environments divide waste nothing.

        Args:
            contexts: The tasks, raw, shape [N, d]; the same one may come several times.
            act: Acts.
            told: Called after every step.

        Returns:
            The episodes in the order of `contexts`; None if `told` ended it.

        Raises:
            ContextError: There is no task.
            HyperRLError: A context is not in the space.
        """
        if not len(contexts):
            raise ContextError("there is no task to play: give at least one context")
        lanes = self._env.num_envs
        plan = shares(len(contexts), lanes)
        rounds = np.zeros(lanes, np.int64)
        jobs = plan[0].copy()
        log = _Log(len(contexts), lanes)
        assign(self._env, contexts[np.maximum(jobs, 0)])
        features = self.features(self._env.reset())
        self._foretell(contexts, plan, rounds, range(lanes))
        while (jobs >= 0).any():
            actions = act(features, jobs)
            clipped = np.clip(actions, self._low, self._high)
            new_obs, rewards, dones, infos = self._env.step(clipped)
            log.add(features, actions, rewards)
            step = {"new_obs": new_obs, "rewards": rewards, "dones": dones, "infos": infos}
            if not told({**step, "actions": actions, "clipped_actions": clipped}):
                return None
            features = self.features(new_obs)
            over = np.flatnonzero(dones)
            for lane in over:
                last = self._single(infos[lane]["terminal_observation"])
                log.end(int(jobs[lane]), int(lane), last, not infos[lane].get("TimeLimit.truncated", False))
                rounds[lane] += 1
                jobs[lane] = plan[rounds[lane], lane] if rounds[lane] < len(plan) else -1
            self._foretell(contexts, plan, rounds, over)
        return log.episodes(contexts)

    def _foretell(
        self, contexts: Array, plan: NDArray[np.int64], rounds: NDArray[np.int64], lanes: Any
    ) -> None:
        """Give lanes the task after the one that they are in: environments reset themselves at an end."""
        for lane in lanes:
            following = rounds[lane] + 1
            if following < len(plan) and plan[following, lane] >= 0:
                self._env.env_method(
                    "set_fixed_context", contexts[plan[following, lane]], indices=[int(lane)]
                )

    def _single(self, observation: Any) -> NDArray[np.float32]:
        if isinstance(observation, dict):
            observation = {key: np.asarray(value)[None] for key, value in observation.items()}
        else:
            observation = np.asarray(observation)[None]
        row: NDArray[np.float32] = self.features(observation)[0]
        return row


class _Log:
    """The steps of all lanes, and where in them the episodes are."""

    def __init__(self, jobs: int, lanes: int) -> None:
        self._steps: list[tuple[Any, Any, Any]] = []
        self._begun = np.zeros(lanes, np.int64)
        self._found: list[tuple[int, int, int, Any, bool] | None] = [None] * jobs

    def add(self, features: Any, actions: Any, rewards: Any) -> None:
        # Environments may write into what they gave once they are stepped again.
        self._steps.append((features.copy(), actions.copy(), rewards.copy()))

    def end(self, job: int, lane: int, last: NDArray[np.float32], for_good: bool) -> None:
        if job >= 0:
            self._found[job] = (lane, int(self._begun[lane]), len(self._steps), last, for_good)
        self._begun[lane] = len(self._steps)

    def episodes(self, contexts: Array) -> Episodes:
        found = [one for one in self._found if one is not None]
        lengths = np.array([end - begin for _, begin, end, _, _ in found])
        shape = (len(found), int(lengths.max()))
        columns = [np.stack(column) for column in zip(*self._steps, strict=True)]
        features, actions, rewards, after = (
            np.zeros((*shape, *columns[index].shape[2:]), np.float32) for index in (0, 1, 2, 0)
        )
        terminated = np.zeros(shape, np.bool_)
        for row, (lane, begin, end, last, for_good) in enumerate(found):
            length = end - begin
            for target, column in zip((features, actions, rewards), columns, strict=True):
                target[row, :length] = column[begin:end, lane]
            after[row, : length - 1] = features[row, 1:length]
            after[row, length - 1] = last
            terminated[row, length - 1] = for_good
        return Episodes(np.array(contexts), features, actions, rewards, after, terminated, lengths)
