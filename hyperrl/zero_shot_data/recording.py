"""Episodes of an expert, several side by side, and what its steps are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.errors import DatasetError, NonFiniteError, UnsupportedSpaceError
from hyperrl.sb3.normalising import OnRawObservations
from hyperrl.zero_shot_data.labels import discounted_returns
from hyperrl.zero_shot_data.transitions import Transitions, joined

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

CRITIC, RETURNS = "critic", "returns"
"""Where values come from: the expert's first critic; or the rewards that followed."""


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of an expert.

    Attributes:
        observations: Shape [n + 1, s], float32.
        actions: As the environment takes them, shape [n, a], float32.
        rewards: Shape [n].
        terminated: Whether it ended by itself, not by its time limit.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: bool

    @property
    def episode_return(self) -> float:
        """Sum of the rewards, not discounted."""
        return float(self.rewards.sum())


def play(agent: BaseAlgorithm, make: Callable[[], gym.Env[Any, Any]], seeds: Sequence[int]) -> list[Episode]:
    """Play deterministic episodes, all side by side so that the policy acts for all of them at once.

    Args:
        agent: The expert, which acts on observations alone.
        make: Builds an environment of its task.
        seeds: Seeds of the resets, one for each episode.

    Raises:
        NonFiniteError: An action or a reward is NaN or infinite.
        UnsupportedSpaceError: Observations or actions are no vectors.
    """
    policy = OnRawObservations(agent)
    envs = [make() for _ in seeds]
    try:
        _check_spaces(envs[0])
        parts: list[_Unfinished] = []
        for env, seed in zip(envs, seeds, strict=True):
            parts.append(_Unfinished(env, np.asarray(env.reset(seed=seed)[0], np.float32)))
        while active := [part for part in parts if not part.ended]:
            actions, _ = policy.predict(
                np.stack([part.observations[-1] for part in active]), deterministic=True
            )
            for part, action in zip(active, actions, strict=True):
                part.step(action)
    finally:
        for env in envs:
            env.close()
    return [part.episode() for part in parts]


def transitions_of(
    agent: BaseAlgorithm, episodes: Sequence[Episode], action_space: spaces.Box
) -> tuple[Transitions, str]:
    """Return the transitions of episodes with what they are worth to the expert.

    The value is that of the expert's first critic where it has critics of actions (TD3, SAC; the latter's
    count entropy, too). Otherwise it is the discounted return, with the expert's value of the last state
    where the time limit ended the episode. Both are in the environment's rewards, whatever the expert's
    normaliser made of them.

    Args:
        agent: The expert.
        episodes: What `play` returned.
        action_space: Of the environment.

    Returns:
        The transitions, and `CRITIC` or `RETURNS`.
    """
    by_critic = hasattr(agent, "critic")
    parts = []
    for episode in episodes:
        low, high = action_space.low, action_space.high
        actions = np.clip(2 * (episode.actions - low) / (high - low) - 1, -1, 1).astype(np.float32)
        values = _by_critic(agent, episode, actions) if by_critic else _by_returns(agent, episode)
        ends = np.zeros(len(actions), np.float32)
        ends[-1] = episode.terminated
        parts.append(
            Transitions(
                states=episode.observations[:-1],
                actions=actions,
                rewards=episode.rewards.astype(np.float32),
                next_states=episode.observations[1:],
                terminated=ends,
                values=values.astype(np.float32),
            )
        )
    return joined(parts), CRITIC if by_critic else RETURNS


def discount_of(agent: BaseAlgorithm) -> float:
    """Return the discount that an expert learned with.

    Args:
        agent: The expert.

    Raises:
        DatasetError: It has none.
    """
    gamma = getattr(agent, "gamma", None)
    if not isinstance(gamma, int | float):
        raise DatasetError(
            f"{type(agent).__name__} has no discount, so that nothing says what steps are worth"
        )
    return float(gamma)


class _Unfinished:
    """An episode while it is played."""

    def __init__(self, env: gym.Env[Any, Any], first: NDArray[np.float32]) -> None:
        self._env = env
        self.observations, self.ended, self._terminated = [first], False, False
        self._actions: list[NDArray[np.float32]] = []
        self._rewards: list[float] = []

    def step(self, action: NDArray[Any]) -> None:
        observation, reward, terminated, truncated, _ = self._env.step(action)
        if not (np.isfinite(action).all() and math.isfinite(reward)):
            raise NonFiniteError("an expert's action or reward is NaN or infinite")
        self.observations.append(np.asarray(observation, np.float32))
        self._actions.append(np.asarray(action, np.float32))
        self._rewards.append(float(reward))
        self.ended, self._terminated = bool(terminated or truncated), bool(terminated)

    def episode(self) -> Episode:
        return Episode(
            np.stack(self.observations),
            np.stack(self._actions),
            np.array(self._rewards),
            self._terminated,
        )


def _check_spaces(env: gym.Env[Any, Any]) -> None:
    for space in (env.observation_space, env.action_space):
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise UnsupportedSpaceError(f"experts need vectors of observations and actions, got {space}")


def _normalised(agent: BaseAlgorithm, observations: NDArray[np.float32]) -> torch.Tensor:
    normaliser = agent.get_vec_normalize_env()
    seen = observations if normaliser is None else normaliser.normalize_obs(observations)
    return torch.as_tensor(seen, dtype=torch.float32, device=agent.device)


def _reward_scale(agent: BaseAlgorithm) -> float:
    """Return what one unit of the rewards that the expert learned from is worth in the environment's."""
    normaliser = agent.get_vec_normalize_env()
    if normaliser is None or not normaliser.norm_reward:
        return 1.0
    return float(np.sqrt(normaliser.ret_rms.var + normaliser.epsilon))


@torch.no_grad()
def _by_critic(agent: Any, episode: Episode, actions: NDArray[np.float32]) -> NDArray[np.float64]:
    states = _normalised(agent, episode.observations[:-1])
    values = agent.critic(states, torch.as_tensor(actions, device=agent.device))[0]
    return np.asarray(values.squeeze(-1).cpu().numpy() * _reward_scale(agent), np.float64)


@torch.no_grad()
def _by_returns(agent: Any, episode: Episode) -> NDArray[np.float64]:
    last = 0.0
    if not episode.terminated:
        value = agent.policy.predict_values(_normalised(agent, episode.observations[-1:]))
        last = float(value) * _reward_scale(agent)
    return discounted_returns(episode.rewards, discount_of(agent), last)
