"""Acting without the overhead of modules and distributions: the same actions, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN, SACPolicy
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn
from torch.nn import functional

from hyperrl.sb3.finite import FinitePredictMixin

Act = Callable[[NDArray[Any]], NDArray[Any]]
_DISTRIBUTION = ("get_action_dist_params", "action_log_prob")
_ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.ELU, nn.GELU, nn.LeakyReLU, nn.Mish, nn.SiLU, nn.Softplus, nn.Identity)


def direct_actor(policy: BasePolicy) -> Act | None:
    """Return a function from observations ``[N, S]`` to an exploring actor's outputs ``[N, A]`` in [-1, 1].

    It reads the actor's parameters when it is called. A stochastic actor draws as many random numbers as it
    would by itself.

    Args:
        policy: A policy of TD3 or SAC.

    Returns:
        The function, or None if the policy acts in a way of its own, or its actor is more than dense layers
        on a vector, has hooks, or is not on the CPU.
    """
    actor = policy.actor
    if not isinstance(actor, nn.Module) or not _acts_as_usual(policy, actor):
        return None
    plain = type(getattr(actor, "features_extractor", None)) is FlattenExtractor and _is_vector(actor)
    on_cpu = all(parameter.device.type == "cpu" for parameter in actor.parameters())
    if not plain or not on_cpu or any(_has_hooks(module) for module in actor.modules()):
        return None
    if isinstance(actor, TD3Actor) and _is_dense(actor.mu):
        return _Deterministic(actor.mu)
    if isinstance(actor, SACActor) and not actor.use_sde and _is_dense(actor.latent_pi):
        assert isinstance(actor.mu, nn.Linear)
        assert isinstance(actor.log_std, nn.Linear)
        return _Gaussian(actor.latent_pi, actor.mu, actor.log_std)
    return None


def is_squashed_gaussian(actor: SACActor) -> bool:
    """Whether an actor draws its actions as Stable-Baselines3's SAC does, without gSDE.

    Args:
        actor: An actor of SAC.
    """
    own = any(getattr(type(actor), name) is not getattr(SACActor, name) for name in _DISTRIBUTION)
    distribution: object = actor.action_dist
    return type(distribution) is SquashedDiagGaussianDistribution and not own


def draw_noise(like: Tensor) -> Tensor:
    """Standard normal numbers of the shape of a tensor, the same that torch's ``Normal.rsample`` would draw.

    Args:
        like: Any tensor.
    """
    return torch.normal(torch.zeros_like(like), torch.ones_like(like))


@dataclass(frozen=True)
class _Deterministic:
    """No closure: a deep copy of an agent acts with the copies of its layers."""

    layers: nn.Sequential

    @torch.no_grad()
    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        return _dense(self.layers, torch.from_numpy(observations.astype(np.float32, copy=False))).numpy()


@dataclass(frozen=True)
class _Gaussian:
    layers: nn.Sequential
    mean: nn.Linear
    log_std: nn.Linear

    @torch.no_grad()
    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        latent = _dense(self.layers, torch.from_numpy(observations.astype(np.float32, copy=False)))
        mean = _dense([self.mean], latent)
        std = _dense([self.log_std], latent).clamp(LOG_STD_MIN, LOG_STD_MAX).exp()
        return torch.tanh(mean + draw_noise(mean) * std).numpy()


def _dense(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = functional.linear(x, layer.weight, layer.bias) if type(layer) is nn.Linear else layer.forward(x)
    return x


def _acts_as_usual(policy: BasePolicy, actor: nn.Module) -> bool:
    usual = SACActor if isinstance(actor, SACActor) else TD3Actor
    return (
        type(policy).predict in (BasePolicy.predict, FinitePredictMixin.predict)
        and type(policy)._predict in (SACPolicy._predict, TD3Policy._predict)
        and all(
            getattr(type(actor), name, None) is getattr(usual, name, None)
            for name in ("forward", "extract_features", *_DISTRIBUTION)
        )
        and (not isinstance(actor, SACActor) or is_squashed_gaussian(actor))
    )


def _is_vector(actor: nn.Module) -> bool:
    space = getattr(actor, "observation_space", None)
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def _is_dense(module: object) -> bool:
    return isinstance(module, nn.Sequential) and all(
        type(layer) is nn.Linear or isinstance(layer, _ELEMENTWISE) for layer in module
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
