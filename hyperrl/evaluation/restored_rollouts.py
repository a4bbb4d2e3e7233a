"""Many returns from one state: the simulator is restored, each action is held, then the policy follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import get_action_dim, is_image_space
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.errors import UnsupportedEnvError
from hyperrl.evaluation.action_gradients import Array, Observation, critic_action_gradient, critic_of
from hyperrl_envs.simulator_state import SimulatorState, capture_state, restore_state


class CriticAgent:
    """A model with a critic: actions in the critic's units, observations as the environment gives them.

    Args:
        model: A model with a critic and a target critic, such as TD3 or SAC.
        vec_normalize: Normalises observations and rewards as they were for the critic; None for no
            normalisation.

    Raises:
        UnsupportedModelError: The model has no such critics.
    """

    def __init__(self, model: BaseAlgorithm, vec_normalize: VecNormalize | None = None) -> None:
        self.model = model
        self.vec_normalize = vec_normalize
        critic_of(model, "critic")
        self.target = critic_of(model, "critic_target")
        self.gamma = float(cast(Any, model).gamma)
        self.action_space = cast(spaces.Box, model.action_space)
        self.action_dim = get_action_dim(self.action_space)

    def check_spaces(self, env: gym.Env[Any, Any]) -> None:
        """Refuse an environment whose spaces are not the model's.

        Raises:
            UnsupportedEnvError: The action space differs, or the observation space in its shapes.
        """
        if env.action_space != self.action_space:
            raise UnsupportedEnvError(
                f"the agent acts in {self.action_space} but the environment takes {env.action_space}"
            )
        if not _fits(env.observation_space, self.model.observation_space):
            raise UnsupportedEnvError(
                f"the agent observes {self.model.observation_space} but the environment gives "
                f"{env.observation_space}"
            )

    def act(self, observations: Sequence[Any]) -> Array:
        """Return the deterministic actions [n, A] at n observations."""
        actions, _ = self.model.policy.predict(self._batch(observations), deterministic=True)
        scaled = np.asarray(self.model.policy.scale_action(actions), np.float64)
        return scaled.reshape(len(observations), -1)

    def gradient(self, observation: Any, action: Array) -> Array:
        """Return the critic's action gradient [A] at one observation and action [A]."""
        gradient: Array = critic_action_gradient(self.model, self._batch([observation]), action[None])[0]
        return gradient

    def value(self, observations: Sequence[Any]) -> Array:
        """Return the smallest target Q-value [n] of the policy's actions at n observations."""
        actions = self.act(observations).astype(np.float32)
        obs_tensor, _ = self.model.policy.obs_to_tensor(self._batch(observations))
        with th.no_grad():
            values = th.cat(
                tuple(self.target(obs_tensor, th.as_tensor(actions, device=self.model.device))), dim=1
            )
        return cast(Array, values.min(dim=1).values.cpu().numpy().astype(np.float64))

    def reward(self, reward: float) -> float:
        """Return a reward as the critic saw it."""
        if self.vec_normalize is None:
            return reward
        return float(self.vec_normalize.normalize_reward(np.array([reward]))[0])

    def environment_action(self, action: Array) -> NDArray[Any]:
        """Return an action [A] in the units and the shape of the environment."""
        space = self.action_space
        unscaled = self.model.policy.unscale_action(action.reshape(space.shape))
        clipped: NDArray[Any] = np.clip(unscaled, space.low, space.high).astype(space.dtype)
        return clipped

    def _batch(self, observations: Sequence[Any]) -> Observation:
        batch: Observation
        if isinstance(observations[0], dict):
            batch = {name: np.stack([one[name] for one in observations]) for name in observations[0]}
        else:
            batch = np.stack(observations)
        return batch if self.vec_normalize is None else self.vec_normalize.normalize_obs(batch)


@dataclass(frozen=True, eq=False)
class StartState:
    """A state from which actions are tried.

    Attributes:
        simulator: The state of the environment.
        observation: What the environment gave there.
        step: The number of steps since the reset.
    """

    simulator: SimulatorState
    observation: Any
    step: int


def draw_start(
    agent: CriticAgent,
    env: gym.Env[Any, Any],
    rng: np.random.Generator,
    *,
    max_start_step: int,
    time_limit: int,
    max_attempts: int,
) -> StartState:
    """Draw a state that a random policy visits.

    A step is drawn first, then an episode of uniformly random actions is started, and discarded where it ends
    before that step. Every state that the random policy visits is equally likely then, however long its
    episodes are.

    Args:
        agent: Gives the scale of the actions.
        env: The environment; it is left at the state.
        rng: Source of the step, of the episode's seed and of the actions.
        max_start_step: The last step that can be drawn, where an earlier time limit allows it.
        time_limit: Only earlier steps are drawn; the limit of the environment itself counts as well.
        max_attempts: Number of episodes tried.

    Returns:
        The state, not terminal.

    Raises:
        UnsupportedEnvError: No episode survived to its drawn step, or the state cannot be captured.
    """
    own_limit = env.spec.max_episode_steps if env.spec is not None else None
    bound = min(max_start_step + 1, time_limit, own_limit or time_limit)
    for _ in range(max_attempts):
        step = int(rng.integers(bound))
        observation, _ = env.reset(seed=int(rng.integers(2**31)))
        survived = True
        for _ in range(step):
            action = agent.environment_action(rng.uniform(-1.0, 1.0, agent.action_dim))
            observation, _, terminated, truncated, _ = env.step(action)
            survived = not (terminated or truncated)
            if not survived:
                break
        if survived:
            return StartState(capture_state(env), observation, step)
    raise UnsupportedEnvError(
        f"none of {max_attempts} episodes of the random policy survived to its drawn step: choose a "
        f"max_start_step below {max_start_step}"
    )


def held_action_returns(
    agent: CriticAgent,
    envs: Sequence[gym.Env[Any, Any]],
    start: StartState,
    actions: Array,
    *,
    hold_steps: int,
    time_limit: int,
) -> Array:
    """Return what comes of holding each action for some steps and then following the deterministic policy.

    The environments are stepped side by side, so that the policy is asked once per step for all of them.

    Args:
        agent: The policy, the discount and the target critic.
        envs: Environments built alike, at least one; where there are fewer than actions, they are used
            repeatedly.
        start: The state to start from.
        actions: The first actions, in the critic's units [n, A].
        hold_steps: For how many steps they are repeated.
        time_limit: Step of the episode at which the return is completed by the smallest target Q-value, as it
            is where the environment truncates the episode.

    Returns:
        The discounted returns [n].
    """
    parts = [
        _side_by_side(agent, envs, start, actions[first : first + len(envs)], hold_steps, time_limit)
        for first in range(0, len(actions), len(envs))
    ]
    return np.concatenate(parts)


def _side_by_side(
    agent: CriticAgent,
    envs: Sequence[gym.Env[Any, Any]],
    start: StartState,
    actions: Array,
    hold_steps: int,
    time_limit: int,
) -> Array:
    returns, observations = np.zeros(len(actions)), [start.observation] * len(actions)
    chosen, running, discount = actions.copy(), list(range(len(actions))), 1.0
    for index in running:
        restore_state(envs[index], start.simulator)
    for step in range(time_limit - start.step):
        if step >= hold_steps:
            chosen[running] = agent.act([observations[index] for index in running])
        survivors: list[int] = []
        cut: list[int] = []
        at_limit = start.step + step + 1 == time_limit
        for index in running:
            outcome = envs[index].step(agent.environment_action(chosen[index]))
            observations[index], reward, terminated, truncated, _ = outcome
            returns[index] += discount * agent.reward(float(reward))
            if not terminated:
                (cut if truncated or at_limit else survivors).append(index)
        discount *= agent.gamma
        if cut:
            returns[cut] += discount * agent.value([observations[index] for index in cut])
        running = survivors
        if not running:
            break
    return returns


def _fits(space: gym.Space[Any], expected: gym.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict) and isinstance(expected, spaces.Dict):
        return space.keys() == expected.keys() and all(_fits(space[name], expected[name]) for name in space)
    if isinstance(space, spaces.Box) and is_image_space(expected) and len(space.shape) == 3:
        # A model sees images with the channels first, whichever way the environment gives them.
        return expected.shape in (space.shape, space.shape[-1:] + space.shape[:-1])
    return type(space) is type(expected) and space.shape == expected.shape
