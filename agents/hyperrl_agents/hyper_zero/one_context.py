"""What an agent of many contexts gives for one of them: a plain policy, as it is or after a few episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.context import ContextSpace
from hyperrl.errors import ConfigError, ContextError
from hyperrl.plain_policy import PlainPolicy
from hyperrl.ranges import between, whole
from hyperrl.sb3.contexts.fixed import completed
from hyperrl.sb3.contexts.observed import Context, Observed
from hyperrl.zero_shot_data import Transitions
from hyperrl_agents.hyper_zero.adaptation import adapted, plain_policy_of
from hyperrl_agents.hyper_zero.policies import HyperZeroPolicy
from hyperrl_agents.hyper_zero.solved_tasks import SolvedTasks


class OneContextMixin(BaseAlgorithm):
    """Fixes the context of an agent with a `HyperZeroPolicy`.

    Attributes:
        dataset: Folder of the agent's data set, which says what contexts are where no environment does.
    """

    policy: HyperZeroPolicy
    dataset: str | None

    @property
    def observed(self) -> Observed:
        """What the policy sees of contexts: nothing where it infers its task."""
        if self.policy.method.infers:
            return Observed()
        told = None if self.env is None else Observed.of_env(self.env)
        if told is not None and told.space is not None:
            return told
        return Observed(self._tasks().space(), "visible", "normalised", self.policy.context_size)

    def complete(self, states: ArrayLike, context: Context | None = None) -> Any:
        """Return states as observations with a context, for `predict`.

        Args:
            states: ``[N, s]``.
            context: Raw values by name or in order; None for the default one.
        """
        return completed(self.observed, self.observation_space)(states, context)

    def specialise(
        self,
        context: Mapping[str, float] | ArrayLike | None = None,
        *,
        vec_normalize: VecNormalize | None = None,
    ) -> PlainPolicy:
        """Return the policy of one context as a plain policy of the state alone.

        Args:
            context: Raw values by name or in order; None is refused.
            vec_normalize: Must be None: HyperZero learns from observations as they are.

        Raises:
            ContextError: There is no context.
            ConfigError: The task is inferred from what happens, or observations are normalised.
            HyperRLError: The context is not one of the space.
        """
        if vec_normalize is not None:
            raise ConfigError("HyperZero acts on observations as they are: it takes no VecNormalize")
        return plain_policy_of(self.policy, self.condition(context))

    def adapt(
        self,
        context: Mapping[str, float] | ArrayLike,
        transitions: Transitions,
        *,
        epochs: int = 5,
        learning_rate: float = 1e-3,
        batch_size: int = 512,
    ) -> PlainPolicy:
        """Return the policy of one context after it has learned from a few episodes there (few-shot).

        The agent itself stays as it is. The defaults are the published ones.

        Args:
            context: As in `specialise`.
            transitions: What an expert did there.
            epochs: Passes over the transitions.
            learning_rate: Of Adam.
            batch_size: Transitions of a step.

        Raises:
            ConfigError: As in `specialise`, or a number is out of range.
        """
        return adapted(
            self.policy,
            self.condition(context),
            transitions,
            epochs=int(whole(1, 1e6).check("epochs", epochs)),
            learning_rate=between(0, 1).check("learning_rate", learning_rate),
            batch_size=int(whole(1, 1e9).check("batch_size", batch_size)),
            seed=0 if self.seed is None else self.seed,
        )

    def condition(self, context: Mapping[str, float] | ArrayLike | None) -> NDArray[np.float32]:
        """Return what the policy sees of a context, shape [d].

        Args:
            context: Raw values by name or in order.

        Raises:
            ContextError: There is none.
            ConfigError: The task is inferred.
        """
        tasks = self._tasks()
        space: ContextSpace = tasks.space()
        if self.policy.method.infers:
            raise ConfigError("this policy infers its task while it acts: there is none to fix")
        if context is None:
            raise ContextError(f"say which context, for example {space.text(space.default)}")
        return tasks.seen(space.array(context))

    def _tasks(self) -> SolvedTasks:
        return SolvedTasks(self.env, self.dataset)
