"""A guard beside learning: it stops a run at the first NaN or infinity, and warns when values explode."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.preprocessing import get_action_dim

from hyperrl.errors import NonFiniteError
from hyperrl.run.diagnosis import (
    cause,
    fault_of_buffer,
    fault_of_normaliser,
    fault_of_reset,
    fault_of_step,
    losses_not_finite,
)
from hyperrl.run.weights import Weights

# Beyond so many times what the rewards allow, a value is no longer an error of approximation.
_TIMES = 10.0
# A fresh critic's values are of this order, however small the rewards are.
_FRESH = 1.0


class DivergenceWarning(UserWarning):
    """Learned values are far larger than the rewards allow."""


class HealthCallback(BaseCallback):
    """Stops learning within one update after a value became NaN or infinite, and says where it came from.

    Works with every algorithm of Stable-Baselines3: ``agent.learn(steps, callback=HealthCallback())``. In a
    list of callbacks it belongs in front, so that none after it keeps what is broken.

    Each step's actions, observations, rewards and contexts (``info["context"]``) are checked before they are
    stored, and losses, gradients and weights after each update. Nothing is changed and no random number is
    drawn: where all is finite, an agent learns the same bit by bit with it and without it.

    A `DivergenceWarning` comes once in each call of `learn` if the critic's values exceed ten times what the
    largest reward so far allows.

    Args:
        every: Rollouts between two looks at the weights. More than one pays on a GPU, which has to finish
            all updates for each look; learning then stops so many updates later.

    Raises:
        NonFiniteError: From within `learn`; the sentence names the source, the environment where there is
            one, and the step.
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self._every, self._rollouts = every, 0
        self._weights: Weights
        self._values: ValueBound
        self._guard: _TrainGuard | None = None

    def _on_training_start(self) -> None:
        self._weights = Weights(self.model)
        self._values = ValueBound(self.model)
        self._stop_if(fault_of_reset(self.model))

    def _on_rollout_start(self) -> None:
        self._remove_guard()
        if self._rollouts % self._every == 0:
            self._check_update()
        self._rollouts += 1

    def _on_step(self) -> bool:
        self._stop_if(fault_of_step(self.model, self.locals, self._weights))
        self._values.see(self.locals["rewards"])
        return True

    def _on_rollout_end(self) -> None:
        self._stop_if(fault_of_normaliser(self.model.get_vec_normalize_env()))
        self._stop_if(fault_of_buffer("the rollout buffer", getattr(self.model, "rollout_buffer", None)))
        self._remove_guard()
        self._guard = _TrainGuard(self.model, self._cause)

    def _on_training_end(self) -> None:
        # The last update has no rollout after it.
        self._remove_guard()
        self._check_update()

    def _remove_guard(self) -> None:
        if self._guard is not None:
            self._guard.remove()

    def _stop_if(self, fault: str | None) -> None:
        if fault is not None:
            raise NonFiniteError(f"{fault} at step {self.model.num_timesteps}")

    def _check_update(self) -> None:
        if hasattr(self.model, "record_losses"):
            # Several seeds at once keep their losses on the device until somebody asks.
            self.model.record_losses()
        values = self.logger.name_to_value
        losses = losses_not_finite(values)
        # What is merely suspicious must not cost a search of the whole replay buffer.
        if losses or (
            self._weights.suspicious() and (self._weights.fault() or self._weights.fault_of_gradients())
        ):
            self._stop_if(self._cause())
        self._values.check(values, self.model.num_timesteps)

    def _cause(self) -> str | None:
        losses = losses_not_finite(self.logger.name_to_value)
        found = cause(self.model, self._weights, losses)
        return found and f"{found}, found after update {getattr(self.model, '_n_updates', '?')}"


class _TrainGuard:
    """Stands in for an agent's `train` for one call, to explain what fails within.

    Where a policy draws its actions from a distribution, torch refuses NaN far from its cause, before `train`
    is at its end.
    """

    _PLACES = ("train", "_excluded_save_params")

    def __init__(self, agent: BaseAlgorithm, explain: Callable[[], str | None]) -> None:
        self._agent = agent
        self._explain = explain
        self._own = {name: vars(agent)[name] for name in self._PLACES if name in vars(agent)}
        self._excluded = agent._excluded_save_params
        # A callback that saves the agent meanwhile must not save the guard.
        vars(agent).update(train=self, _excluded_save_params=self._excluded_with_guard)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.remove()
        agent: Any = self._agent
        try:
            agent.train(*args, **kwargs)
        except (ValueError, ArithmeticError) as error:
            found = self._explain()
            if found is None:
                raise
            raise NonFiniteError(f"{found} at step {agent.num_timesteps}") from error

    def remove(self) -> None:
        """Give the agent its own method back."""
        attributes = vars(self._agent)
        if attributes.get("train") is self:
            for name in self._PLACES:
                attributes.pop(name)
            attributes.update(self._own)

    def _excluded_with_guard(self) -> list[str]:
        return [*self._excluded(), *self._PLACES]


class ValueBound:
    """What values the rewards so far allow, and the warning once a critic's values are far beyond.

    With a discount gamma and rewards of at most R, no value is larger than R / (1 - gamma). An agent that is
    rewarded for entropy gets besides, in each step, its temperature times about its target entropy.

    Args:
        agent: The algorithm.
    """

    def __init__(self, agent: BaseAlgorithm) -> None:
        self._agent = agent
        self._gamma = float(getattr(agent, "gamma", 1.0))
        self._largest_reward: float | None = None
        self._largest_temperature = 0.0
        self._warned = not 0 <= self._gamma < 1

    def see(self, rewards: NDArray[Any]) -> None:
        """Take the rewards ``[N]`` of one step into account."""
        if self._largest_reward is None:
            self._largest_reward = _largest_stored_reward(self._agent)
        self._largest_reward = max(self._largest_reward, float(np.abs(rewards).max()))

    def check(self, values: Mapping[str, Any], steps: int) -> None:
        """Warn, the first time, if what an update has logged is too large.

        Args:
            values: The logger's values by name.
            steps: Environment steps so far.
        """
        self._largest_temperature = max(self._largest_temperature, float(values.get("train/ent_coef", 0.0)))
        if self._warned or not self._largest_reward:
            return
        allowed = (self._largest_reward + self._entropy()) / (1 - self._gamma)
        limit = _TIMES * max(allowed, _FRESH)
        for name, value in _extremes(values):
            if abs(value) > limit:
                self._warned = True
                warnings.warn(
                    f"{name} is {value:.3g} at step {steps}, but rewards of at most "
                    f"{self._largest_reward:.3g} with gamma = {self._gamma:g} allow values of at most "
                    f"{allowed:.3g}: learning diverges; try a lower learning rate of the critic, a smaller "
                    "tau, or rewards of another scale",
                    DivergenceWarning,
                    stacklevel=2,
                )
                return

    def _entropy(self) -> float:
        target = getattr(self._agent, "target_entropy", None)
        if not isinstance(target, (int, float)):
            return 0.0
        return self._largest_temperature * max(abs(target), get_action_dim(self._agent.action_space))


def _extremes(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what an update has logged on how large the critic's values are, or their errors."""
    for name in ("hyper/q_max", "hyper/q_min"):
        if name in values:
            yield f"the critic's {name}", float(values[name])
    for name in ("train/critic_loss", "train/value_loss"):
        if name in values:
            yield f"the square root of {name}", math.sqrt(max(0.0, float(values[name])))


def _largest_stored_reward(agent: BaseAlgorithm) -> float:
    """Return the largest absolute reward, normalised as sampled, in a replay buffer filled earlier."""
    buffer: Any = getattr(agent, "replay_buffer", None)
    if buffer is None or not buffer.size():
        return 0.0
    rewards = buffer.rewards[: buffer.size()]
    normaliser = agent.get_vec_normalize_env()
    if normaliser is not None:
        rewards = normaliser.normalize_reward(rewards)
    return float(np.abs(rewards).max())
