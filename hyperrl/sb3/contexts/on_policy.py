"""PPO's policy whose networks see a context."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from hyperrl.sb3.contexts.groups import Groups
from hyperrl.sb3.contexts.networks import ContextNet
from hyperrl.sb3.contexts.policy import ContextPolicyMixin
from hyperrl.sb3.contexts.running import Runner
from hyperrl.sb3.finite import FinitePredictMixin

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class ContextActorCriticPolicy(FinitePredictMixin, ContextPolicyMixin, ActorCriticPolicy):
    """PPO's policy with context networks, see `ContextPolicyMixin`.

    Actions are Gaussian around what the actor's network gives, with one standard deviation for all states and
    contexts. Networks start as Stable-Baselines3's do, with or without ``ortho_init``.
    """

    hidden_part = "vf"
    default_widths: ClassVar[tuple[int, ...]] = (64, 64)
    net_init = "orthogonal"
    # The initialiser's own gain is that of hidden layers.
    output_gains = (0.01 / math.sqrt(2), 1 / math.sqrt(2))

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: Any = None,
        activation_fn: type[nn.Module] = nn.Tanh,
        **kwargs: Any,
    ) -> None:
        optimizer_kwargs = dict(kwargs.get("optimizer_kwargs") or {})
        if kwargs.get("optimizer_class", torch.optim.Adam) is torch.optim.Adam:
            optimizer_kwargs.setdefault("eps", 1e-5)
        kwargs["optimizer_kwargs"] = optimizer_kwargs
        super().__init__(observation_space, action_space, lr_schedule, net_arch, activation_fn, **kwargs)

    action_net: ContextNet
    value_net: ContextNet  # type: ignore[assignment]

    def _build(self, lr_schedule: Schedule) -> None:
        if not self.ortho_init:
            self.net_init, self.output_gains = "torch", (1.0, 1.0)
        self.action_net = self.plan("actor").build()
        self.value_net = self.plan("critic").build()
        self._act, self._value = Runner(self.action_net, self.grouping), Runner(self.value_net, self.grouping)
        actions = get_action_dim(self.action_space)
        self.log_std = nn.Parameter(torch.full((actions,), float(self.log_std_init)))
        arguments: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **arguments)

    def networks(self) -> dict[str, ContextNet]:
        """Return the actor's network, and the value function's."""
        return {"actor": self.action_net, "critic": self.value_net}

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions ``[B, A]``, values ``[B, 1]`` and log-probabilities ``[B]``.

        Args:
            obs: A batch of observations, or their features ``[B, S + d]``.
            deterministic: Whether to give the mean actions.
        """
        features = self._features(obs)
        mean = self._act(features)
        # The numbers that torch's distribution would draw, without its overhead.
        noise = torch.zeros_like(mean) if deterministic else torch.empty_like(mean).normal_()
        log_prob = -(0.5 * noise.square() + self.log_std + _HALF_LOG_TWO_PI).sum(1)
        assert self.action_space.shape is not None
        actions = (mean + noise * self.log_std.exp()).reshape(-1, *self.action_space.shape)
        return actions, self._value(features), log_prob

    def values_of(self, features: Tensor) -> Tensor:
        """Return values ``[B, 1]`` of features ``[B, S + d]``."""
        return self._value(features)

    def evaluate(
        self, features: Tensor, actions: Tensor, groups: Groups | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate actions, for a loss.

        Args:
            features: ``[B, S + d]``.
            actions: ``[B, A]``.
            groups: Which row has which context, where that is known.

        Returns:
            Values ``[B]``, log-probabilities ``[B]`` and the entropy ``[]``, the same in all states.
        """
        mean, values = self._act(features, groups=groups), self._value(features, groups=groups)
        scaled = (actions - mean) * (-self.log_std).exp()
        log_std = self.log_std.sum()
        constant = _HALF_LOG_TWO_PI * actions.shape[1]
        log_prob = -0.5 * scaled.square().sum(1) - log_std - constant
        return values.flatten(), log_prob, log_std + constant + 0.5 * actions.shape[1]

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Evaluate actions, as Stable-Baselines3's PPO does.

        Args:
            obs: A batch of observations.
            actions: ``[B, A]``.
        """
        values, log_prob, entropy = self.evaluate(self._features(obs), actions, None)
        return values, log_prob, entropy.expand(len(log_prob))

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Return the distribution of actions.

        Args:
            obs: A batch of observations.
        """
        assert isinstance(self.action_dist, DiagGaussianDistribution)
        return self.action_dist.proba_distribution(self._act(self._features(obs)), self.log_std)

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Return values ``[B, 1]``.

        Args:
            obs: A batch of observations.
        """
        return self._value(self._features(obs))

    def _features(self, obs: PyTorchObs) -> Tensor:
        if isinstance(obs, Tensor) and obs.dim() == 2 and obs.dtype == torch.float32:
            return obs  # Vectors are their own features, and those of dicts were made before.
        features: Tensor = super().extract_features(obs)  # type: ignore[assignment]
        return features
