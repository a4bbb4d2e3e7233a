"""What HyperPEARL gives for single tasks: adaptation, a latent to act by, a plain policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.errors import ConfigError, ContextError, NonFiniteError, ShapeError
from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.contexts.fixed import completed
from hyperrl.sb3.contexts.observed import Context, Observed
from hyperrl.sb3.meta.adaptation import Adaptation
from hyperrl_agents.hyper_pearl.adaptation import PosteriorAdaptation, ToldAdaptation, plain_policy_of
from hyperrl_agents.hyper_pearl.policies import HyperPEARLPolicy


class OneTaskMixin(BaseAlgorithm):
    """Adapts an agent with a `HyperPEARLPolicy` to tasks."""

    policy: HyperPEARLPolicy
    exploration_episodes: int

    @property
    def observed(self) -> Observed:
        """The contexts that the agent was built for."""
        return self.policy.observed

    def adaptation(self, contexts: NDArray[np.float64]) -> Adaptation:
        """Begin to adapt to tasks; the agent stays as it is.

        Args:
            contexts: The tasks, raw, ``[n, d]``. Where the task is inferred they only say how many there are.

        Raises:
            ContextError: There is no task.
            HyperRLError: A context is not in the space.
        """
        space = self.observed.space
        rows = np.asarray(contexts, np.float64) if space is None else space.arrays(contexts)
        if not len(rows):
            raise ContextError("there is no task to adapt to: give at least one context")
        if self.policy.encoder is not None:
            return PosteriorAdaptation(self.policy, len(rows), self.exploration_episodes)
        latents = np.stack([self.observed.vector(row) for row in rows])
        return ToldAdaptation(self.policy, torch.from_numpy(latents).to(self.device))

    def set_latent(self, latent: ArrayLike | None) -> None:
        """Choose the task that `predict` and `specialise` act in, where the task is inferred.

        Args:
            latent: For example the mean of a posterior, ``[C]``; None for the mean of the prior, 0, by which
                a new agent acts.

        Raises:
            ConfigError: Observations tell the task.
            ShapeError: It has another size.
            NonFiniteError: It is NaN or infinite.
        """
        if self.policy.encoder is None:
            raise ConfigError("this agent is told its task by observations: it has no latent to set")
        size = self.policy.shape.latent
        values = np.zeros(size, np.float32) if latent is None else np.asarray(latent, np.float32)
        if values.shape != (size,):
            raise ShapeError(f"a latent has {size} numbers, got shape {values.shape}")
        if not np.isfinite(values).all():
            raise NonFiniteError(f"a latent must be finite, got {values.tolist()}")
        self.policy.latent.copy_(torch.from_numpy(values))

    def specialise(
        self, context: Context | None = None, *, vec_normalize: VecNormalize | None = None
    ) -> PlainPolicy:
        """Return the policy of one task as a plain policy of the state alone.

        Where the task is inferred that is the policy of the latent that `set_latent` was given, else of the
        mean of the prior; `adaptation(...).specialise(task)` returns that of a task that was played.

        Args:
            context: With ``infer="oracle"`` values by name, where what is missing takes its default, or all
                in their order, raw; otherwise it changes nothing, as it is not seen.
            vec_normalize: Must be None: HyperPEARL learns from observations as they are.

        Raises:
            ContextError: The policy sees the context and none is given.
            ConfigError: Observations are normalised.
            HyperRLError: The context is not in the space.
        """
        if vec_normalize is not None:
            raise ConfigError("HyperPEARL acts on observations as they are: it takes no VecNormalize")
        if self.policy.encoder is not None:
            return plain_policy_of(self.policy, self.policy.latent)
        if context is None:
            raise ContextError(
                f"this agent acts by the context: give one, for example {self.observed.example()}"
            )
        latent = torch.from_numpy(self.observed.vector(context)).to(self.device)
        return plain_policy_of(self.policy, latent)

    def complete(self, states: ArrayLike, context: Context | None = None) -> Any:
        """Return states as observations of this agent, for `predict`.

        Args:
            states: ``[N, S]``.
            context: As for `specialise`; the default one where it is None.
        """
        return completed(self.observed, self.observation_space)(states, context)
