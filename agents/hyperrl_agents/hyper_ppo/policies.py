"""A policy for every architecture of a space, and a critic that is told which one acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from hyperrl.errors import UnsupportedSpaceError
from hyperrl.nets.architectures import ArchitectureSpace
from hyperrl.nets.architectures.generators import WeightGenerator
from hyperrl.nets.architectures.layout import Layout
from hyperrl.nets.architectures.packing import PackedWeights, Packing, kernel_for
from hyperrl.nets.cache import WeightWatch
from hyperrl.sb3.finite import FinitePredictMixin
from hyperrl.sb3.policies import FinitePPOPolicy
from hyperrl_agents.hyper_ppo.settings import ACTIVATION_NAMES, build_generator, check_settings
from hyperrl_agents.hyper_ppo.single import frozen
from hyperrl_agents.hyper_ppo.spaces import make_space

# Widths up to 256 get features up to 1.
_LARGEST_LOG_WIDTH = 8.0
_KEPT_NETWORKS = 16


class HyperActorCriticPolicy(FinitePredictMixin, ActorCriticPolicy):
    """A generator of policies, a critic and a standard deviation that all policies share.

    Actions are Gaussian around what the network of an architecture gives, as in Stable-Baselines3's
    `ActorCriticPolicy`; the value of a state is that under the architecture that acts, so the critic sees
    features of it beside the observation (Hegde et al., ICRA 2024, section III).

    Takes the arguments of `ActorCriticPolicy`, but for state-dependent exploration, and:

    Args:
        architectures: The space, see `hyperrl_agents.hyper_ppo.spaces.make_space`.
        generator: Name of a registered generator of weights, or a `WeightGenerator` class.
        generator_kwargs: Further arguments of the generator.
        kernel: How networks are applied together, one of `hyperrl.nets.architectures.packing.KERNELS`;
            "auto" chooses by widths and rows.
        net_arch: Hidden widths of the critic.
        activation_fn: Hidden activation of policies and critic, `nn.ReLU` or `nn.Tanh`.

    Attributes:
        space: The architectures.
        generator: What generates their weights.
        default_architecture: The one that acts where none is given: the largest.

    Raises:
        UnsupportedSpaceError: Observations are not a Box, or actions not a bounded one.
        ConfigError: A setting is wrong.
        UnknownNameError: There is no such generator, activation or kernel.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: Sequence[int] = (64, 64),
        activation_fn: type[nn.Module] = nn.ReLU,
        *,
        architectures: Any = "cpu",
        generator: str | type[WeightGenerator] = "transformer",
        generator_kwargs: Mapping[str, Any] | None = None,
        kernel: str = "auto",
        **kwargs: Any,
    ) -> None:
        if not isinstance(observation_space, spaces.Box) or not isinstance(action_space, spaces.Box):
            raise UnsupportedSpaceError(
                f"HyperPPO needs Box observations and actions, got {observation_space} and {action_space}"
            )
        widths, activation_fn = check_settings(net_arch, activation_fn, kernel, kwargs)
        inputs, outputs = int(np.prod(observation_space.shape)), int(np.prod(action_space.shape))
        space = make_space(architectures, inputs, outputs)
        self._generator_settings: dict[str, Any] = {
            "architectures": [list(one) for one in space.architectures],
            "generator": generator,
            "generator_kwargs": dict(generator_kwargs or {}),
            "kernel": kernel,
        }
        optimizer_kwargs = {"eps": 1e-5, "fused": True, **(kwargs.pop("optimizer_kwargs", None) or {})}
        if kwargs.get("optimizer_class", torch.optim.Adam) is not torch.optim.Adam:
            optimizer_kwargs.pop("fused")
            optimizer_kwargs.pop("eps")
        # `super().__init__` builds the networks of this space.
        object.__setattr__(self, "space", space)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            widths,
            activation_fn,
            optimizer_kwargs=optimizer_kwargs,
            **kwargs,
        )
        self._chosen: int | None = None
        self._networks: dict[tuple[int, ...], PackedWeights] = {}
        self._watch = WeightWatch(self.generator)

    space: ArchitectureSpace
    architecture_features: Tensor

    @property
    def critic_widths(self) -> list[int]:
        """Hidden widths of the critic."""
        assert isinstance(self.net_arch, list)
        return self.net_arch

    @property
    def default_architecture(self) -> tuple[int, ...]:
        """The architecture that acts where none is given: the largest of the space."""
        return self.space[len(self.space) - 1]

    @property
    def hidden_activation(self) -> str:
        """Name of the activation of generated policies."""
        return ACTIVATION_NAMES[self.activation_fn]

    def _build(self, lr_schedule: Schedule) -> None:
        settings = self._generator_settings
        self.generator = build_generator(settings["generator"], self.space, settings["generator_kwargs"])
        features = _features_of(self.space)
        # Follows from the space: not part of what is saved.
        self.register_buffer("architecture_features", torch.from_numpy(features), persistent=False)
        size = self.space.inputs + features.shape[1]
        widths = self.critic_widths
        self.value_features = nn.Sequential(*create_mlp(size, -1, widths, self.activation_fn))
        self.value_net = nn.Linear(widths[-1] if widths else size, 1)
        if self.ortho_init:
            self.value_features.apply(partial(self.init_weights, gain=float(np.sqrt(2))))
            self.value_net.apply(partial(self.init_weights, gain=1.0))
        self.log_std = nn.Parameter(torch.full((self.space.outputs,), float(self.log_std_init)))
        arguments: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **arguments)

    def plan(self, numbers: Sequence[int] | NDArray[np.int64], rows: int, training: bool = False) -> Packing:
        """Return how the networks of some architectures are applied together.

        Args:
            numbers: Their numbers in the space, ``[M]``.
            rows: Rows of each network's input.
            training: Whether gradients are needed.
        """
        layout = Layout(self.space, numbers)
        kernel = self._generator_settings["kernel"]
        if kernel == "auto":
            kernel = kernel_for(layout.architectures, rows, training)
        return Packing(layout, kernel, self.hidden_activation, self.device)

    def networks(self, plan: Packing) -> PackedWeights:
        """Generate weights, with gradients where they are enabled.

        Args:
            plan: What `plan` returned.

        Returns:
            What gives mean actions ``[M, B, actions]`` for observations ``[M, B, observations]``.
        """
        return plan.pack(self.generator(plan.layout))

    def flat(self, observations: Tensor) -> Tensor:
        """Return observations ``[B, *shape]`` as networks take them, ``[B, inputs]``, images scaled."""
        features: Tensor = super().extract_features(observations, self.features_extractor)  # type: ignore[assignment]
        return features

    def values_of(self, observations: Tensor, numbers: Tensor) -> Tensor:
        """Return the values of states under architectures.

        Args:
            observations: ``[B, *shape]``.
            numbers: The number of the architecture that acts, ``[B]``.

        Returns:
            ``[B, 1]``.
        """
        inputs = torch.cat([self.flat(observations), self.architecture_features[numbers]], dim=1)
        values: Tensor = self.value_net(self.value_features(inputs))
        return values

    def distribution_of(self, means: Tensor) -> DiagGaussianDistribution:
        """Return the distribution of actions around means ``[B, actions]``."""
        assert isinstance(self.action_dist, DiagGaussianDistribution)
        return self.action_dist.proba_distribution(means, self.log_std)

    def evaluate(
        self, plan: Packing, observations: Tensor, actions: Tensor, numbers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate actions under freshly generated weights.

        Args:
            plan: The architectures, M of them.
            observations: ``[M * B, *shape]``, those of the first architecture first.
            actions: ``[M * B, actions]``.
            numbers: The number of each row's architecture, ``[M * B]``.

        Returns:
            Values, logarithms of the actions' probabilities and entropies, ``[M * B]`` each.
        """
        flat = self.flat(observations)
        means = self.networks(plan)(flat.unflatten(0, (len(plan.layout), -1))).flatten(0, 1)
        distribution = self.distribution_of(means)
        entropy = distribution.entropy()
        assert entropy is not None
        return self.values_of(observations, numbers).flatten(), distribution.log_prob(actions), entropy

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        architecture: Sequence[int] | None = None,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Give the action of one architecture, see `FinitePredictMixin.predict`.

        Args:
            observation: One observation or a batch.
            state: Passed on.
            episode_start: Passed on.
            deterministic: Whether to give the mean action rather than to draw one.
            architecture: Which policy acts, by its hidden widths; the default one if None.

        Raises:
            UnknownNameError: The architecture is not in the space.
        """
        self._chosen = None if architecture is None else self.space.index(architecture)
        try:
            return super().predict(observation, state, episode_start, deterministic)
        finally:
            self._chosen = None

    def get_distribution(self, obs: PyTorchObs, architecture: Sequence[int] | None = None) -> Distribution:
        """Return the distribution of one architecture's actions.

        Args:
            obs: ``[B, *shape]``.
            architecture: The hidden widths; the default architecture if None.

        Raises:
            UnknownNameError: The architecture is not in the space.
        """
        number = self._number(architecture)
        assert isinstance(obs, Tensor)
        network = self._kept_networks((number,))
        return self.distribution_of(network(self.flat(obs).unsqueeze(0))[0])

    def predict_values(self, obs: PyTorchObs, architecture: Sequence[int] | None = None) -> Tensor:
        """Return the values ``[B, 1]`` of states under one architecture.

        Args:
            obs: ``[B, *shape]``.
            architecture: The hidden widths; the default architecture if None.

        Raises:
            UnknownNameError: The architecture is not in the space.
        """
        assert isinstance(obs, Tensor)
        numbers = torch.full((len(obs),), self._number(architecture), device=obs.device)
        return self.values_of(obs, numbers)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return action, value and log probability under the default architecture.

        Args:
            obs: ``[B, *shape]``.
            deterministic: Whether to give the mean action.
        """
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        assert self.action_space.shape is not None
        return actions.reshape(-1, *self.action_space.shape), self.predict_values(obs), log_prob

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Evaluate actions under the default architecture.

        Args:
            obs: ``[B, *shape]``.
            actions: ``[B, actions]``.
        """
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()

    def mean_actions(self, numbers: Sequence[int], observations: NDArray[Any]) -> NDArray[Any]:
        """Return the deterministic actions of several architectures, as `predict` gives those of one.

        Args:
            numbers: Their numbers in the space, ``[M]``.
            observations: B for each, ``[M, B, *shape]``.

        Returns:
            ``[M, B, *action shape]``, within the bounds of the action space.
        """
        tensor = torch.as_tensor(observations, device=self.device)
        with torch.no_grad():
            network = self._kept_networks(tuple(int(number) for number in numbers), tensor.shape[1])
            means = network(self.flat(tensor.flatten(0, 1)).unflatten(0, tensor.shape[:2])).cpu().numpy()
        assert isinstance(self.action_space, spaces.Box)
        shape = (*observations.shape[:2], *self.action_space.shape)
        return np.clip(means.reshape(shape), self.action_space.low, self.action_space.high)

    def freeze(self, architecture: Sequence[int]) -> FinitePPOPolicy:
        """Return the policy of one architecture as an ordinary one of Stable-Baselines3.

        Its critic is this one with the architecture's features as a constant, so that actions,
        probabilities and values are the same up to rounding.

        Args:
            architecture: The hidden widths.

        Raises:
            UnknownNameError: The architecture is not in the space.
        """
        return frozen(self, architecture)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = {**super()._get_constructor_parameters(), **self._generator_settings}
        for name in ("use_sde", "squash_output", "full_std", "use_expln"):
            parameters.pop(name)
        return parameters

    def _number(self, architecture: Sequence[int] | None) -> int:
        if architecture is not None:
            return self.space.index(architecture)
        return len(self.space) - 1 if self._chosen is None else self._chosen

    def _kept_networks(self, numbers: tuple[int, ...], rows: int = 1) -> PackedWeights:
        """Return networks for acting, whose weights are generated anew only after the generator changed."""
        if torch.is_grad_enabled():
            return self.networks(self.plan(numbers, rows))
        if self._watch.changed():
            self._networks.clear()
        if numbers not in self._networks:
            # Many architectures at once have a set of weights that is not worth keeping beside others.
            while self._networks and sum(map(len, self._networks)) + len(numbers) > _KEPT_NETWORKS:
                self._networks.pop(next(iter(self._networks)))
            self._networks[numbers] = self.networks(self.plan(numbers, rows))
        return self._networks[numbers]


def _features_of(space: ArchitectureSpace) -> NDArray[np.float32]:
    """Return what the critic sees of each architecture, ``[N, 2 depth]``.

    The logarithms of the widths, the first hidden layer's first, zero where there is none, and the number of
    layers as one of several; raw widths beside normalised observations are what the publication has.
    """
    depth = int(space.depths.max())
    features = np.zeros((len(space), 2 * depth), np.float32)
    for row, architecture in zip(features, space.architectures, strict=True):
        row[: len(architecture)] = np.log2(architecture) / _LARGEST_LOG_WIDTH
        row[depth + len(architecture) - 1] = 1.0
    return features
