"""How well a critic's action gradient agrees with what the simulator says.

An actor follows the gradient of the critic with respect to the action. The protocol of HypeRL (Sarafian,
Keynan and Kraus, "Recomposing the reinforcement learning building blocks with hypernetworks", ICML 2021)
compares it, at states that a random policy visits, with an estimate from returns alone: the same state is
restored for several actions near the policy's own, each is followed to the end of the episode, and the
least-squares slope of the returns is the gradient. The result is the cosine similarity of the two.

All actions here are in the critic's units, the action space of Stable-Baselines3 scaled to [-1, 1]. Where the
agent was trained with `VecNormalize`, observations and rewards are normalised as they were for its critic. A
soft critic (SAC) also counts the entropy of later actions, which the returns of the deterministic policy do
not contain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.environments import make_env
from hyperrl.errors import UnsupportedEnvError
from hyperrl.evaluation.action_gradients import (
    Array,
    UnsupportedModelError,
    cosine_similarity,
    critic_action_gradient,
    least_squares_gradient,
)
from hyperrl.evaluation.restored_rollouts import CriticAgent, draw_start, held_action_returns
from hyperrl.evaluation.statistics import bootstrap_interval
from hyperrl.ranges import above, between, whole

__all__ = [
    "GradientQualityConfig",
    "GradientQualityResult",
    "StateGradients",
    "UnsupportedModelError",
    "cosine_similarity",
    "critic_action_gradient",
    "gradient_quality",
    "least_squares_gradient",
]

_RANGES = {
    "states": whole(1),
    "actions": whole(2),
    "noise_std": above(0.0),
    "hold_steps": whole(1),
    "max_start_step": whole(0),
    "time_limit": whole(1),
    "seed": whole(0, 2**32 - 1),
    "max_attempts": whole(1),
    "confidence": between(0.01, 0.9999),
    "resamples": whole(1, 1e7),
}

EnvSource = str | gym.Env[Any, Any] | Callable[[], gym.Env[Any, Any]]


@dataclass(frozen=True)
class GradientQualityConfig:
    """The numbers of the protocol; the defaults are HypeRL's.

    Attributes:
        states: Number of states, at least 1.
        actions: Number of actions per state, at least 2. With fewer than one more than the dimensions of the
            action, the estimate is the least-squares solution of smallest norm.
        noise_std: Standard deviation of the actions around the policy's, in the units of [-1, 1].
        hold_steps: For how many steps each action is repeated before the policy acts, at least 1.
        max_start_step: States are drawn from the steps 0 to `max_start_step` of an episode.
        time_limit: Step of the episode at which a return is cut and completed by the target critic. An
            earlier limit of the environment does the same.
        seed: Determines states and actions, hence on one machine the whole result.
        max_attempts: Episodes tried for one state before giving up, because the random policy did not
            survive.
        confidence: Level of the confidence interval, for example 0.95.
        resamples: Number of bootstrap resamples of the interval.

    Raises:
        ConfigError: A number is out of range.
    """

    states: int = 15
    actions: int = 15
    noise_std: float = 0.3
    hold_steps: int = 3
    max_start_step: int = 1000
    time_limit: int = 1000
    seed: int = 0
    max_attempts: int = 10_000
    confidence: float = 0.95
    resamples: int = 10_000

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, allowed in _RANGES.items():
            object.__setattr__(self, name, allowed.check(name, getattr(self, name)))


@dataclass(frozen=True, eq=False)
class StateGradients:
    """Both gradients at one state; A is the number of action dimensions, n the number of actions.

    Attributes:
        step: Step of the episode at which the state was.
        actions: The actions that were tried [n, A]; the first is the policy's own.
        returns: Their discounted returns [n].
        critic_gradient: Gradient of the first Q-function at the policy's action [A].
        estimated_gradient: Least-squares slope of the returns [A].
    """

    step: int
    actions: Array
    returns: Array
    critic_gradient: Array
    estimated_gradient: Array

    @property
    def cosine(self) -> float:
        """Cosine similarity of the two gradients; NaN where one of them is zero."""
        return cosine_similarity(self.critic_gradient, self.estimated_gradient)

    @property
    def critic_norm(self) -> float:
        """Euclidean norm of the critic's gradient, in return per unit of action."""
        return float(np.linalg.norm(self.critic_gradient))

    @property
    def estimated_norm(self) -> float:
        """Euclidean norm of the estimated gradient, in return per unit of action."""
        return float(np.linalg.norm(self.estimated_gradient))


@dataclass(frozen=True, eq=False)
class GradientQualityResult:
    """The comparison at all states.

    Attributes:
        states: One entry per state.
        config: The numbers that were used.
    """

    states: tuple[StateGradients, ...]
    config: GradientQualityConfig = field(default_factory=GradientQualityConfig)

    @property
    def cosines(self) -> Array:
        """Cosine similarity at each state [states]; NaN where a gradient is zero."""
        return np.array([state.cosine for state in self.states])

    @property
    def mean_cosine(self) -> float:
        """Mean cosine over the states where it is defined; NaN where it is defined at none."""
        defined = self._defined()
        return float(defined.mean()) if defined.size else float("nan")

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """Percentile bootstrap interval of the mean cosine; NaN where fewer than two states have one."""
        defined = self._defined()
        if defined.size < 2:
            return float("nan"), float("nan")
        interval = bootstrap_interval(
            defined,
            confidence=self.config.confidence,
            resamples=self.config.resamples,
            seed=self.config.seed,
        )
        return interval.low, interval.high

    @property
    def undefined(self) -> int:
        """Number of states at which one of the gradients is zero."""
        return len(self.states) - self._defined().size

    @property
    def underdetermined(self) -> bool:
        """Whether there were too few actions to estimate every component of the gradient."""
        return any(state.actions.shape[0] <= state.actions.shape[1] for state in self.states)

    def _defined(self) -> Array:
        cosines = self.cosines
        return cosines[np.isfinite(cosines)]


def gradient_quality(
    model: BaseAlgorithm,
    env: EnvSource,
    config: GradientQualityConfig | None = None,
    *,
    vec_normalize: VecNormalize | None = None,
) -> GradientQualityResult:
    """Compare a critic's action gradients with estimates from restored simulator states.

    Args:
        model: A model with a critic Q(s, a) and a target critic, such as TD3 or SAC, from Stable-Baselines3
            or hyperrl. It is left as it was.
        env: The task: an environment id or a function that builds one environment, from which one environment
            per action is built to be stepped side by side; or an environment, which is used alone and left in
            some state. Its state must be capturable (`hyperrl_envs.simulator_state`).
        config: The numbers of the protocol.
        vec_normalize: The agent's normalisation; by default that of the model's own training environment.

    Returns:
        Both gradients at every state, their cosines and the mean with its confidence interval.

    Raises:
        UnsupportedModelError: The model has no such critic.
        UnknownNameError: There is no environment of that id.
        UnsupportedEnvError: The environment's spaces are not the model's, its state cannot be captured, or
            the random policy never survives to the drawn step.
        NonFiniteError: A gradient or a return is NaN or infinite.
    """
    config = config or GradientQualityConfig()
    agent = CriticAgent(model, vec_normalize or model.get_vec_normalize_env())
    training = model.policy.training
    envs, built_here = _environments(env, config.actions)
    try:
        agent.check_spaces(envs[0])
        rng = np.random.default_rng(config.seed)
        states = tuple(_compare(agent, envs, config, rng) for _ in range(config.states))
    finally:
        model.policy.set_training_mode(training)
        if built_here:
            for one in envs:
                one.close()
    return GradientQualityResult(states, config)


def _compare(
    agent: CriticAgent,
    envs: Sequence[gym.Env[Any, Any]],
    config: GradientQualityConfig,
    rng: np.random.Generator,
) -> StateGradients:
    start = draw_start(
        agent,
        envs[0],
        rng,
        max_start_step=config.max_start_step,
        time_limit=config.time_limit,
        max_attempts=config.max_attempts,
    )
    action = agent.act([start.observation])[0]
    noise = config.noise_std * rng.standard_normal((config.actions, agent.action_dim))
    noise[0] = 0.0
    actions = np.clip(action + noise, -1.0, 1.0)
    returns = held_action_returns(
        agent, envs, start, actions, hold_steps=config.hold_steps, time_limit=config.time_limit
    )
    return StateGradients(
        step=start.step,
        actions=actions,
        returns=returns,
        critic_gradient=agent.gradient(start.observation, action),
        estimated_gradient=least_squares_gradient(actions, returns),
    )


def _environments(env: EnvSource, count: int) -> tuple[list[gym.Env[Any, Any]], bool]:
    if isinstance(env, gym.Env):
        return [env], False
    if callable(env):
        return [env() for _ in range(count)], True
    if not isinstance(env, str):
        raise UnsupportedEnvError(
            f"an environment is an id, a gymnasium.Env or a function that builds one, got a "
            f"{type(env).__name__}"
        )
    return [make_env(env) for _ in range(count)], True
