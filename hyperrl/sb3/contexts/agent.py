"""What all algorithms have in common whose policies see a context."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.errors import ConfigError, ContextError, ExportError, UnsupportedSpaceError
from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.contexts.fixed import completed
from hyperrl.sb3.contexts.observed import KEY, Context, Observed
from hyperrl.sb3.contexts.policy import ContextPolicyMixin
from hyperrl.sb3.normalising import check_context_stays
from hyperrl.sb3.plain import check_vectors, head_of, normaliser_of

_PROBES = 16
# Of half the action range: what float32 rounds, and nothing else.
_SAME = 1e-3


class ContextAgentMixin(BaseAlgorithm):
    """Reads the contexts of environments, keeps them with the policy, and fixes them for a plain policy."""

    policy: ContextPolicyMixin

    @property
    def observed(self) -> Observed:
        """The contexts that the agent was built for."""
        return self.policy.observed

    @property
    def parameter_counts(self) -> dict[str, dict[str, Any]]:
        """What the actor's network ("actor") and each value function ("critic") are, and how large.

        A table of kind, hidden widths, trainable parameters and numbers generated for a context.
        """
        return self.policy.parameter_counts

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Give the agent other environments, see `BaseAlgorithm.set_env`.

        Args:
            env: The environments.
            force_reset: Whether they are reset before the next learning.

        Raises:
            ContextError: Their contexts mean something else, or are changed by a `VecNormalize`.
        """
        wrapped = self._wrap_env(env, self.verbose)
        self.observed.check_same(Observed.of_env(wrapped))
        check_context_stays(wrapped, self.observed.size)
        super().set_env(wrapped, force_reset)

    def specialise(
        self, context: Context | None = None, *, vec_normalize: VecNormalize | None = None
    ) -> PlainPolicy:
        """Return the actor for one context as a plain policy of the observation without the context.

        It is compared with the agent's own answers to a few observations before it is returned.

        Args:
            context: Values by name, such as ``{"mass": 1.2}``, where what is missing takes its default; or
                all values in their order, raw. None where the actor sees none.
            vec_normalize: What normalises its observations; None takes that of the agent's environment.

        Raises:
            ContextError: The actor needs a context and none is given, or has none and one is given.
            UnsupportedSpaceError: Observations or actions are no vectors of numbers.
            HyperRLError: The context is wrong, see `ContextSpace.array`.
        """
        vector = self._context_vector(context)
        key = self._check_observations()
        if vec_normalize is None:
            vec_normalize = self.get_vec_normalize_env()
        layers = self.policy.plain_layers(vector)
        head = head_of(self.action_space, squashed=bool(self.policy.squash_output))
        policy = PlainPolicy(tuple(layers), head, None)
        self._check_specialised(policy, context)
        return PlainPolicy(policy.layers, head, normaliser_of(vec_normalize, key, policy.sizes[0]))

    def _context_vector(self, context: Context | None) -> torch.Tensor | None:
        observed, name = self.observed, type(self).__name__
        if context is not None:
            if observed.space is None and not observed.size:
                raise ContextError(f"this {name} was trained without contexts: leave the context out")
            vector = observed.vector(context)
            return torch.from_numpy(vector)[: observed.size]
        if observed.size and self.policy.networks()["actor"].sees_context:
            raise ContextError(f"this {name} acts by the context: give one, for example {observed.example()}")
        return None

    def _check_observations(self) -> str | None:
        """Refuse observations that no plain policy is for; return the key of the part that it is for."""
        space = self.observation_space
        if not isinstance(space, spaces.Dict):
            check_vectors(space, self.action_space)
            return None
        rest = [key for key in space.spaces if key != KEY]
        if len(rest) != 1:
            raise UnsupportedSpaceError(
                f"observations with the parts {', '.join(rest)} cannot be exported: a plain policy takes one "
                "vector besides the context"
            )
        check_vectors(space.spaces[rest[0]], self.action_space)
        return rest[0]

    def complete(self, states: ArrayLike, context: Context | None) -> Any:
        """Return observations of this agent in one context.

        Args:
            states: Observations without the context, ``[N, S]``.
            context: As for `specialise`; the default one where it is None.
        """
        return completed(self.observed, self.observation_space)(states, context)

    def _check_specialised(self, policy: PlainPolicy, context: Context | None) -> None:
        generator = np.random.default_rng(0)
        states = generator.normal(size=(_PROBES, policy.sizes[0])).astype(np.float32)
        expected, _ = self.predict(self.complete(states, context), deterministic=True)
        scale = policy.head.half_range * np.maximum(1, np.abs(expected) if policy.head.bound == "none" else 1)
        if (np.abs(policy(states) - expected) > _SAME * scale).any():
            raise ExportError(
                f"{type(self).__name__} cannot be exported: it does not act as its plain layers do"
            )

    def _setup_model(self) -> None:
        if self.env is not None:
            found = Observed.of_env(self.env)
            given = self.policy_kwargs.get("contexts")
            if given is not None:
                Observed.from_plain(given).check_same(found)
            self._check_columns(found)
            check_context_stays(self.env, found.size)
            self.policy_kwargs = {**self.policy_kwargs, "contexts": found.to_plain()}
        super()._setup_model()  # type: ignore[safe-super]

    def _check_columns(self, found: Observed) -> None:
        space = self.observation_space
        if isinstance(space, spaces.Box) and found.size and int(np.prod(space.shape)) <= found.size:
            raise ConfigError(
                f"observations of {int(np.prod(space.shape))} numbers have nothing but the context of "
                f"{found.size}: the context is said to be their last numbers"
            )
