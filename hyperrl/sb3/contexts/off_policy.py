"""Policies of SAC and TD3 whose networks see a context."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import BaseModel, BasePolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN, SACPolicy
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from hyperrl.errors import ConfigError
from hyperrl.sb3.contexts.groups import Grouping
from hyperrl.sb3.contexts.networks import ContextNet
from hyperrl.sb3.contexts.policy import ContextPolicyMixin
from hyperrl.sb3.contexts.running import Runner
from hyperrl.sb3.contexts.settings import NetPlan
from hyperrl.sb3.finite import FinitePredictMixin


class _ContextActor(BasePolicy):
    """What SAC's and TD3's actors of one context network have in common.

    Args:
        observation_space: Observation space.
        action_space: Action space.
        plan: The network.
        grouping: The policy's.
        features_extractor: Makes features of observations.
        features_dim: Their size.
        normalize_images: Passed on.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        plan: NetPlan,
        grouping: Grouping,
        features_extractor: nn.Module,
        features_dim: int,
        normalize_images: bool = True,
    ) -> None:
        BasePolicy.__init__(
            self,
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
            squash_output=True,
        )
        self.features_dim = features_dim
        self.net = plan.build()
        self._run = Runner(self.net, grouping)


class ContextSACActor(_ContextActor, SACActor):
    """SAC's actor: mean and logarithm of the standard deviation from one context network."""

    use_sde = False

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Box, **settings: Any
    ) -> None:
        super().__init__(observation_space, action_space, **settings)
        self.action_dist: Any = SquashedDiagGaussianDistribution(get_action_dim(action_space))

    def get_action_dist_params(self, obs: PyTorchObs) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return means ``[B, A]`` and logarithms of standard deviations ``[B, A]``, and no further arguments.

        Args:
            obs: A batch of observations.
        """
        mean, log_std = self._run(self.extract_features(obs, self.features_extractor)).chunk(2, dim=1)
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX), {}


class ContextTD3Actor(_ContextActor, TD3Actor):
    """TD3's actor from one context network."""

    def forward(self, obs: Tensor) -> Tensor:
        """Return actions ``[B, A]`` in [-1, 1]."""
        return torch.tanh(self._run(self.extract_features(obs, self.features_extractor)))


class ContextCritic(ContinuousCritic):
    """Drop-in for Stable-Baselines3's ``ContinuousCritic`` with context networks.

    Args:
        observation_space: Observation space.
        action_space: Action space.
        plan: Each network.
        grouping: The policy's.
        features_extractor: Makes features of observations.
        features_dim: Their size.
        normalize_images: Passed on.
        n_critics: Number of value functions.

    Raises:
        ConfigError: There is no value function.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        plan: NetPlan,
        grouping: Grouping,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        normalize_images: bool = True,
        n_critics: int = 2,
    ) -> None:
        BaseModel.__init__(
            self,
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        if n_critics < 1:
            raise ConfigError(f"a critic needs at least 1 value function, got n_critics = {n_critics}")
        self.share_features_extractor = False
        self.n_critics = n_critics
        self.q_networks: list[nn.Module] = []
        self._runs: list[Runner] = []
        for index in range(n_critics):
            network = plan.build()
            self.add_module(f"qf{index}", network)
            self.q_networks.append(network)
            self._runs.append(Runner(network, grouping))

    def forward(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, ...]:
        """Values ``[B, 1]`` of every value function, for observations and actions ``[B, A]``."""
        features = self.extract_features(obs, self.features_extractor)
        return tuple(run(features, actions) for run in self._runs)

    def q1_forward(self, obs: PyTorchObs, actions: Tensor) -> Tensor:
        """Value ``[B, 1]`` of the first value function, as TD3's actor loss needs it."""
        return self._runs[0](self.extract_features(obs, self.features_extractor), actions)


class _OffPolicyMixin(ContextPolicyMixin):
    """Builds actors and critics of the plans."""

    actor_class: ClassVar[type[nn.Module]]

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """Build one actor (the online or the target one)."""
        return self.actor_class(**self._arguments("actor", features_extractor)).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContextCritic:
        """Build one critic (the online or the target one)."""
        given: Any = self.critic_kwargs
        return ContextCritic(**self._arguments("critic", None), n_critics=given["n_critics"]).to(self.device)

    def networks(self) -> dict[str, ContextNet]:
        """Return the actor's network, and one value function's."""
        actor: Any = self.actor
        critic: Any = self.critic
        return {"actor": actor.net, "critic": critic.q_networks[0]}

    def _arguments(self, part: str, features_extractor: BaseFeaturesExtractor | None) -> dict[str, Any]:
        if part not in self._plans:
            self._plans[part] = self.plan(part)
        given = {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "normalize_images": self.normalize_images,
            "plan": self._plans[part],
            "grouping": self.grouping,
        }
        return self._update_features_extractor(given, features_extractor)

    def _build(self, lr_schedule: Any) -> None:
        self._plans: dict[str, NetPlan] = {}
        super()._build(lr_schedule)  # type: ignore[misc]


class ContextSACPolicy(FinitePredictMixin, _OffPolicyMixin, SACPolicy):
    """SAC's policy with context networks, see `ContextPolicyMixin`."""

    actor_class = ContextSACActor
    side_outputs = True


class ContextTD3Policy(FinitePredictMixin, _OffPolicyMixin, TD3Policy):
    """TD3's policy with context networks, see `ContextPolicyMixin`."""

    actor_class = ContextTD3Actor
    default_widths: ClassVar[tuple[int, ...]] = (400, 300)
