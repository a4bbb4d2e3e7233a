"""Policies with a hyper critic, for our agents and for Stable-Baselines3's own TD3 and SAC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac import policies as sac
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3 import policies as td3
from stable_baselines3.td3.policies import TD3Policy

from hyperrl.errors import ConfigError
from hyperrl.sb3.critic_config import CRITICS, SAC_CRITICS, HyperCriticConfig, critic_config
from hyperrl.sb3.critics import HyperContinuousCritic
from hyperrl.sb3.finite import FinitePredictMixin
from hyperrl.sb3.learning_rate import restore_scaling, scale_learning_rate

_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class HyperCriticMixin:
    """What a TD3 or SAC policy needs to have a hyper critic.

    Takes every argument of the policy that it is mixed into, and:

    Args:
        critic: ``fast``, ``compact``, ``paper``, a `HyperCriticConfig`, or a mapping with its fields. It
            decides the critic's shape; ``net_arch`` and ``activation_fn`` shape the actor.

    Attributes:
        critic_presets: What the names of critics stand for in this policy.

    Raises:
        UnknownNameError: If no critic has that name, or a name within its config is unknown.
        ConfigError: If a value of the critic is out of range, or the critic has a learning rate of its own
            and the agent's schedule starts at zero.
    """

    critic_presets: ClassVar[Mapping[str, HyperCriticConfig]] = CRITICS

    def __init__(
        self, *args: Any, critic: str | HyperCriticConfig | Mapping[str, Any] = "fast", **kwargs: Any
    ) -> None:
        self.critic_config = critic_config(critic, self.critic_presets)
        optimizer_class = kwargs.get("optimizer_class", torch.optim.Adam)
        optimizer_kwargs = dict(kwargs.get("optimizer_kwargs") or {})
        if optimizer_class in _FUSED and not {"fused", "foreach", "capturable"} & set(optimizer_kwargs):
            optimizer_kwargs["fused"] = True
        super().__init__(*args, **{**kwargs, "optimizer_kwargs": optimizer_kwargs})

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        rate = self.critic_config.learning_rate
        # A policy that is loaded alone gets a schedule of zeros, and is not trained.
        if rate is None or lr_schedule is BasePolicy._dummy_schedule:
            return
        start = lr_schedule(1)
        if not start > 0:
            raise ConfigError(
                f"the critic's learning rate of {rate:g} follows the agent's schedule in proportion, "
                f"which must start above 0 for that, got {start:g}"
            )
        scale_learning_rate(self.critic.optimizer, rate / start)  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Finish a copy: optimisers are copied and pickled without their hooks."""
        super().__setstate__(state)  # type: ignore[misc]
        restore_scaling(self.critic.optimizer)  # type: ignore[attr-defined]

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> HyperContinuousCritic:
        """Build one critic (the online or the target one)."""
        settings = self._update_features_extractor(self.critic_kwargs, features_extractor)  # type: ignore[attr-defined]
        for name in ("net_arch", "activation_fn"):
            settings.pop(name)
        return HyperContinuousCritic(config=self.critic_config, **settings).to(self.device)  # type: ignore[attr-defined]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        return {**parameters, "critic": self.critic_config}


class FiniteTD3Policy(FinitePredictMixin, TD3Policy):
    """TD3's policy that neither takes nor gives NaN and infinity."""


class FiniteTD3CnnPolicy(FinitePredictMixin, td3.CnnPolicy):
    """The same for images."""


class FiniteTD3MultiInputPolicy(FinitePredictMixin, td3.MultiInputPolicy):
    """The same for dictionaries of observations."""


class FiniteSACPolicy(FinitePredictMixin, SACPolicy):
    """SAC's policy that neither takes nor gives NaN and infinity."""


class FiniteSACCnnPolicy(FinitePredictMixin, sac.CnnPolicy):
    """The same for images."""


class FiniteSACMultiInputPolicy(FinitePredictMixin, sac.MultiInputPolicy):
    """The same for dictionaries of observations."""


class FinitePPOPolicy(FinitePredictMixin, ActorCriticPolicy):
    """PPO's policy that neither takes nor gives NaN and infinity."""


class FinitePPOCnnPolicy(FinitePredictMixin, ActorCriticCnnPolicy):
    """The same for images."""


class FinitePPOMultiInputPolicy(FinitePredictMixin, MultiInputActorCriticPolicy):
    """The same for dictionaries of observations."""


class HyperTD3Policy(HyperCriticMixin, FinitePredictMixin, TD3Policy):
    """TD3's policy with a hyper critic; also works in Stable-Baselines3's own ``TD3``."""


class HyperTD3CnnPolicy(HyperTD3Policy):
    """The same for images."""

    def __init__(
        self, *args: Any, features_extractor_class: type[BaseFeaturesExtractor] = NatureCNN, **kwargs: Any
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


class HyperTD3MultiInputPolicy(HyperTD3Policy):
    """The same for dictionaries of observations."""

    def __init__(
        self,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = CombinedExtractor,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


class HyperSACPolicy(HyperCriticMixin, FinitePredictMixin, SACPolicy):
    """SAC's policy with a hyper critic; also works in Stable-Baselines3's own ``SAC``."""

    critic_presets: ClassVar[Mapping[str, HyperCriticConfig]] = SAC_CRITICS


class HyperSACCnnPolicy(HyperSACPolicy):
    """The same for images."""

    def __init__(
        self, *args: Any, features_extractor_class: type[BaseFeaturesExtractor] = NatureCNN, **kwargs: Any
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


class HyperSACMultiInputPolicy(HyperSACPolicy):
    """The same for dictionaries of observations."""

    def __init__(
        self,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = CombinedExtractor,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)
