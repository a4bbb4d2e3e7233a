"""State-action value functions whose weights are generated from the state (or from the action)."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn
from torch.func import functional_call

from hyperrl.errors import ConfigError
from hyperrl.nets import Generated, HyperNet, TargetMLP, TargetSpec
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.sb3.critic_config import HyperCriticConfig


class HyperQ(nn.Module):
    """One value function: a hypernetwork and the application of what it generates.

    Args:
        state_dim: Size of the state features.
        action_dim: Size of the action.
        config: The network.
    """

    def __init__(self, state_dim: int, action_dim: int, config: HyperCriticConfig) -> None:
        super().__init__()
        self.on_state = config.condition == "state"
        condition_dim, input_dim = (state_dim, action_dim) if self.on_state else (action_dim, state_dim)
        spec = TargetSpec.mlp(
            input_dim, config.hidden, 1, gain=config.gain, norm=config.hidden_norm, init=config.target_init
        )
        has_trunk = resolve_kind(config.kind).takes_trunk
        self.hyper = HyperNet(
            spec,
            condition_dim,
            config.kind,
            encoder=config.encoder,
            trunk=config.trunk if has_trunk else "mlp",
            hidden=config.trunk_hidden if has_trunk else (),
            features=config.features if has_trunk else None,
            activation=config.activation,
            layer_norm=config.layer_norm,
            feature_norm=config.feature_norm if has_trunk else "none",
            init=config.init,
            trunk_init_scale=config.trunk_init_scale,
            **config.kind_options,
        )
        self.target = TargetMLP(spec, config.contraction)

    def condition(self, state: Tensor, action: Tensor) -> Tensor:
        """Which of the two drives the hypernetwork."""
        return state if self.on_state else action

    def forward(self, state: Tensor, action: Tensor, differentiate_weights: bool = True) -> Tensor:
        """Value ``[B, 1]`` of states ``[B, S]`` and actions ``[B, A]``, or ``[B, N, 1]`` of ``[B, N, A]``.

        Args:
            state: State features.
            action: Actions; several per state only where the state is the condition.
            differentiate_weights: Whether gradients flow into the hypernetwork's parameters; gradients with
                respect to the action are the same either way.
        """
        generated = self._generate(self.condition(state, action), differentiate_weights)
        return self.target(generated, action if self.on_state else state)

    def _generate(self, condition: Tensor, differentiate_weights: bool) -> Generated:
        generated: Generated
        if differentiate_weights:
            generated = self.hyper(condition)
        elif self.on_state:
            with torch.no_grad():
                generated = self.hyper(condition)
            # Parameters that all conditions share are part of what is generated, and still want gradients.
            generated = generated.detach()
        else:
            constants = {name: parameter.detach() for name, parameter in self.hyper.named_parameters()}
            generated = functional_call(self.hyper, constants, (condition,))
        return generated


class HyperContinuousCritic(ContinuousCritic):
    """Drop-in for Stable-Baselines3's ``ContinuousCritic``.

    An actor's loss differentiates the value with respect to the action alone, which never reaches the
    hypernetwork if the state is its condition. Actions from a replay buffer carry no gradient, actions from
    an actor do; by that the critic knows when the hypernetwork needs no backward pass. The result is exact:
    gradients that Stable-Baselines3 would compute there for the critic are thrown away before its next step.

    Encoders with running statistics see the states (or actions) of every critic update, in training mode
    only; Stable-Baselines3 copies their statistics to the target network.

    Args:
        observation_space: Observation space.
        action_space: Action space.
        config: The network.
        features_extractor: Stable-Baselines3's features extractor.
        features_dim: Size of its output.
        normalize_images: Whether images are divided by 255.
        n_critics: Number of independent value functions.
        share_features_extractor: Whether the actor trains the extractor.

    Raises:
        ConfigError: If there is no value function.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        config: HyperCriticConfig,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
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
        if n_critics < 1:
            raise ConfigError(f"a critic needs at least 1 value function, got n_critics = {n_critics}")
        self.config = config
        self.share_features_extractor = share_features_extractor
        self.n_critics = n_critics
        self.q_networks: list[nn.Module] = []
        for index in range(n_critics):
            network = HyperQ(features_dim, get_action_dim(action_space), config)
            self.add_module(f"qf{index}", network)
            self.q_networks.append(network)

    def forward(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, ...]:
        """Values ``[B, 1]`` of every value function, for observations and actions ``[B, A]``."""
        differentiate = not actions.requires_grad
        with torch.set_grad_enabled(
            torch.is_grad_enabled() and not self.share_features_extractor and differentiate
        ):
            features = self.extract_features(obs, self.features_extractor)
        if self.training and differentiate and torch.is_grad_enabled():
            self._update_statistics(features, actions)
        return tuple(network(features, actions, differentiate) for network in self.q_networks)

    def q1_forward(self, obs: PyTorchObs, actions: Tensor) -> Tensor:
        """Value ``[B, 1]`` of the first value function, as TD3's actor loss needs it."""
        with torch.no_grad():
            features = self.extract_features(obs, self.features_extractor)
        value: Tensor = self.q_networks[0](features, actions, not actions.requires_grad)
        return value

    def _update_statistics(self, features: Tensor, actions: Tensor) -> None:
        for network in self.q_networks:
            if isinstance(network, HyperQ):
                network.hyper.encoder.update(network.condition(features, actions))
