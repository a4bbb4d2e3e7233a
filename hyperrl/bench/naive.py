"""Hyper critics as a user of Stable-Baselines3 would write them: what our own are measured against.

A ``ContinuousCritic`` in Stable-Baselines3's own TD3 and SAC: every layer's generated weights are
materialised, all of it lies in autograd's graph in the actor's step too, and Adam is not fused. There is the
published network, which computes what the critic ``paper`` computes, and a small one, which computes what
``fast`` does.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn
from torch.nn import functional

_WIDTHS = (256, 512, 1024)
_HIDDEN = 256
_FAST_FEATURES = 16


class NaiveResidual(nn.Module):
    """``x + L2(relu(L1(relu(x))))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, width]`` to ``[B, width]``."""
        update: Tensor = self.second(functional.relu(self.first(functional.relu(x))))
        return x + update


class NaiveLayer(nn.Module):
    """One generated layer: three parallel dense heads for weights, bias and gain."""

    def __init__(self, features: int, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.fan_in = fan_in
        self.fan_out = fan_out
        self.weight = nn.Linear(features, fan_in * fan_out)
        self.bias = nn.Linear(features, fan_out)
        self.gain = nn.Linear(features, fan_out)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Apply the layer generated from ``z [B, K]`` to ``x [B, in]``."""
        weight = self.weight(z).view(-1, self.fan_out, self.fan_in)
        product = torch.bmm(weight, x.unsqueeze(-1)).squeeze(-1)
        out: Tensor = (1 + self.gain(z)) * product + self.bias(z)
        return out


class NaiveQ(nn.Module):
    """One state-action value function ``Q(s, a)``, its weights generated from the state.

    Args:
        state_dim: Size of the state.
        action_dim: Size of the action.
    """

    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, width in zip((state_dim, *_WIDTHS[:-1]), _WIDTHS, strict=True):
            layers += [nn.Linear(fan_in, width), NaiveResidual(width), NaiveResidual(width)]
        self.primary = nn.Sequential(*layers)
        self.hidden = NaiveLayer(_WIDTHS[-1], action_dim, _HIDDEN)
        self.out = NaiveLayer(_WIDTHS[-1], _HIDDEN, 1)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Value ``[B, 1]`` of states ``[B, S]`` and actions ``[B, A]``."""
        z = self.primary(state)
        value: Tensor = self.out(z, functional.relu(self.hidden(z, action)))
        return value


class NaiveFastQ(nn.Module):
    """The small value function: 16 features of constant norm, one layer-normalised hidden layer of 256.

    Args:
        state_dim: Size of the state.
        action_dim: Size of the action.
    """

    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        self.primary = nn.Sequential(
            nn.Linear(state_dim, _HIDDEN),
            nn.LayerNorm(_HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _FAST_FEATURES),
        )
        self.sizes = (action_dim * _HIDDEN, _HIDDEN, _HIDDEN, 1)
        self.head = nn.Linear(_FAST_FEATURES, sum(self.sizes))

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Value ``[B, 1]`` of states ``[B, S]`` and actions ``[B, A]``."""
        features = self.primary(state)
        features = features * (features.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
        weight, out_weight, bias, out_bias = self.head(features).split(self.sizes, dim=-1)
        matrix = weight.view(-1, action.shape[-1], _HIDDEN)
        hidden = torch.bmm(action.unsqueeze(1), matrix).squeeze(1) + bias
        hidden = functional.relu(functional.layer_norm(hidden, (_HIDDEN,)))
        value: Tensor = (hidden * out_weight).sum(-1, keepdim=True) + out_bias
        return value


class NaiveHyperCritic(ContinuousCritic):
    """Stable-Baselines3's ``ContinuousCritic`` with other networks inside; takes its arguments."""

    network: ClassVar[type[nn.Module]] = NaiveQ

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        n_critics: int = 2,
        share_features_extractor: bool = True,
    ) -> None:
        BaseModel.__init__(
            self,
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        self.share_features_extractor = share_features_extractor
        self.n_critics = n_critics
        self.q_networks = []
        for index in range(n_critics):
            network = self.network(features_dim, get_action_dim(action_space))
            self.add_module(f"qf{index}", network)
            self.q_networks.append(network)

    def forward(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, ...]:
        """Values ``[B, 1]`` of every value function."""
        with torch.set_grad_enabled(not self.share_features_extractor):
            features = self.extract_features(obs, self.features_extractor)
        return tuple(network(features, actions) for network in self.q_networks)

    def q1_forward(self, obs: PyTorchObs, actions: Tensor) -> Tensor:
        """Value ``[B, 1]`` of the first value function."""
        with torch.no_grad():
            features = self.extract_features(obs, self.features_extractor)
        value: Tensor = self.q_networks[0](features, actions)
        return value


class NaiveFastCritic(NaiveHyperCritic):
    """The same with the small networks."""

    network: ClassVar[type[nn.Module]] = NaiveFastQ


class _NaiveCriticMixin:
    critic_class: ClassVar[type[NaiveHyperCritic]] = NaiveHyperCritic

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> NaiveHyperCritic:
        """Build one critic (the online or the target one)."""
        settings = self._update_features_extractor(self.critic_kwargs, features_extractor)  # type: ignore[attr-defined]
        return self.critic_class(**settings).to(self.device)  # type: ignore[attr-defined]


class NaiveTD3Policy(_NaiveCriticMixin, TD3Policy):
    """TD3's policy with the naive critic."""


class NaiveSACPolicy(_NaiveCriticMixin, SACPolicy):
    """SAC's policy with the naive critic."""


class NaiveFastTD3Policy(NaiveTD3Policy):
    """TD3's policy with the small naive critic."""

    critic_class = NaiveFastCritic
