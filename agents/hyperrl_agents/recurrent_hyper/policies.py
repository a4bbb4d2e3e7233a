"""The policy: a memory, and actor and critic that depend on what it tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from hyperrl.errors import ShapeError, UnsupportedSpaceError
from hyperrl.nets.contraction import Contraction
from hyperrl.nets.init import InitConfig
from hyperrl.sb3.finite import FinitePredictMixin
from hyperrl_agents.recurrent_hyper.columns import Columns
from hyperrl_agents.recurrent_hyper.decoders import Decoders
from hyperrl_agents.recurrent_hyper.encoder import HistoryEncoder
from hyperrl_agents.recurrent_hyper.latents import LatentNormaliser
from hyperrl_agents.recurrent_hyper.networks import ActorCriticNetworks, chosen_network
from hyperrl_agents.recurrent_hyper.segments import Segments
from hyperrl_agents.recurrent_hyper.settings import ElboSettings, check_policy_settings

_LEAST_STD = 1e-6


class RecurrentHyperPolicy(FinitePredictMixin, ActorCriticPolicy):
    """A GRU remembers a trial; its latent generates the weights of actor and critic, or is seen by them.

    Observations are those of `hyperrl.sb3.meta.trials`, which say where a trial begins, so that
    ``episode_start`` of `predict` makes no difference. The state of `predict` is what is remembered, an array
    ``[B, H]``; None is nothing. Actions are Gaussian with a standard deviation of their own.

    Args:
        observation_space: Of trials.
        action_space: A Box.
        lr_schedule: Of the learning rate.
        actor: How the actor depends on the latent: "hyper" (all its weights are affine functions of the
            embedded latent), "concat" (further inputs: RL2 and VariBAD as published first) or "film"; or a
            table that names another hypernetwork, such as
            ``{"kind": "hyper", "hypernet": "modular", "modules": 8}``.
        critic: The same for the critic.
        encoder: "rl2" or "varibad", see `RecurrentHyper`.
        hidden_size: Size of the GRU's hidden state H.
        latent_dim: Means of the latent z; it has as many variances.
        embeddings: Sizes of the embeddings of state, action and reward before the GRU.
        latent_features: Size k of the embedded latent from which weights are generated.
        state_features: Size of the embedded state that actor and critic share.
        net_arch: Hidden widths of both base networks, or a dict with those of "pi" and "vf".
        init: How the heads of hypernetworks start, a method of `hyperrl.nets.init.InitConfig`.
        output_gain: Length of the first rows of the actor's output layer; less begins nearer to no action.
        contraction: The order in which generated layers are evaluated, one of
            `hyperrl.nets.contraction.CONTRACTIONS`.
        log_std_init: First logarithm of the standard deviation.
        elbo: Settings of VariBAD's bound, which say which decoders there are.
        optimizer_class: Of all but what VariBAD's bound trains.
        optimizer_kwargs: Its further arguments.

    Raises:
        UnsupportedSpaceError: Observations are none of trials, or actions no Box.
        ConfigError: A setting is wrong.
        UnknownNameError: There is no such network, encoder, initialiser or contraction.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        actor: str | Mapping[str, Any] = "hyper",
        critic: str | Mapping[str, Any] = "hyper",
        encoder: str = "rl2",
        hidden_size: int = 256,
        latent_dim: int = 5,
        embeddings: Sequence[int] = (32, 16, 16),
        latent_features: int = 25,
        state_features: int = 256,
        net_arch: Sequence[int] | Mapping[str, Sequence[int]] = (256, 128),
        init: str = "bias_hyper",
        output_gain: float = 1.0,
        contraction: Contraction = "auto",
        log_std_init: float = 0.0,
        elbo: Mapping[str, Any] | None = None,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        use_sde: bool = False,
    ) -> None:
        if not isinstance(action_space, spaces.Box):
            raise UnsupportedSpaceError(
                f"RecurrentHyper needs actions that are a Box, got {action_space}: others are not supported"
            )
        self._given: dict[str, Any] = {
            "actor": actor,
            "critic": critic,
            "encoder": encoder,
            "hidden_size": hidden_size,
            "latent_dim": latent_dim,
            "embeddings": embeddings,
            "latent_features": latent_features,
            "state_features": state_features,
            "net_arch": net_arch,
            "init": init,
            "output_gain": output_gain,
            "contraction": contraction,
            "elbo": elbo,
        }
        check_policy_settings(self._given)
        self.columns = Columns.of(observation_space)
        self.encoder_kind, self.elbo = encoder, ElboSettings.of(elbo or {})
        fused = {"fused": True} if optimizer_class is torch.optim.Adam else {}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            log_std_init=log_std_init,
            features_extractor_class=CombinedExtractor,
            optimizer_class=optimizer_class,
            optimizer_kwargs={**fused, **(optimizer_kwargs or {})},
        )

    def _build(self, lr_schedule: Schedule) -> None:
        given, columns = self._given, self.columns
        assert isinstance(self.action_space, spaces.Box)
        bounds = np.maximum(np.abs(self.action_space.low), np.abs(self.action_space.high)).reshape(-1)
        scale = torch.from_numpy(np.where(np.isfinite(bounds) & (bounds > 0), bounds, 1.0).astype(np.float32))
        self.encoder = HistoryEncoder(
            columns, given["hidden_size"], given["latent_dim"], tuple(given["embeddings"]), scale
        )
        arch = given["net_arch"]
        hidden = (arch["pi"], arch["vf"]) if isinstance(arch, Mapping) else (arch, arch)
        self.networks = ActorCriticNetworks(
            columns.state_size,
            2 * given["latent_dim"],
            columns.action_size,
            actor=given["actor"],
            critic=given["critic"],
            state_features=given["state_features"],
            latent_features=given["latent_features"],
            hidden=hidden,
            output_gain=given["output_gain"],
            init=InitConfig(given["init"]),
            contraction=given["contraction"],
        )
        self.log_std = nn.Parameter(torch.full((columns.action_size,), float(self.log_std_init)))
        self.latent_normaliser = LatentNormaliser(2 * given["latent_dim"])
        trained = [*self.networks.parameters(), self.log_std]
        if self.is_varibad:
            self.decoders = Decoders(columns, given["latent_dim"], self.elbo, self.encoder.action_scale)
            modelled = [*self.encoder.parameters(), *self.decoders.parameters()]
            rate = self.elbo.learning_rate
            self.elbo_optimizer = torch.optim.Adam(modelled, lr=rate, fused=True)
        else:
            trained += self.encoder.parameters()
        arguments: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(trained, **arguments)

    @property
    def is_varibad(self) -> bool:
        """Whether the memory is trained to tell the task rather than to act."""
        return self.encoder_kind == "varibad"

    @property
    def parameter_counts(self) -> dict[str, dict[str, Any]]:
        """What actor and critic are, and how large: kind, trainable parameters, numbers generated."""
        counts = {}
        for part, network in (("actor", self.networks.actor), ("critic", self.networks.critic)):
            counts[part] = {
                "kind": chosen_network(part, self._given[part]).kind,
                "trainable": network.hyper.n_params(),
                "generated": network.generated,
            }
        return counts

    def latent(self, hidden: Tensor) -> Tensor:
        """The latent as actor and critic see it, ``[..., 2 z]``, for what is remembered ``[..., H]``."""
        latent = self.encoder.latent(hidden)
        return self.latent_normaliser(latent.detach()) if self.is_varibad else latent

    def distribution_of(self, means: Tensor) -> DiagGaussianDistribution:
        """The distribution of actions around means ``[B, A]``."""
        assert isinstance(self.action_dist, DiagGaussianDistribution)
        return self.action_dist.proba_distribution(means, self.log_std.clamp_min(math.log(_LEAST_STD)))

    def act(
        self, features: Tensor, hidden: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Act for one step of each environment.

        Args:
            features: ``[B, F]``.
            hidden: What was remembered, ``[B, H]``.
            deterministic: Whether to give the mean action.

        Returns:
            Actions ``[B, A]``, values ``[B, 1]``, logarithms of the probabilities ``[B]`` and what is
            remembered from here on ``[B, H]``.
        """
        hidden = self.encoder.step(features, hidden)
        means, values = self.networks(self.columns.state(features), self.latent(hidden))
        distribution = self.distribution_of(means)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values.unsqueeze(1), distribution.log_prob(actions), hidden

    def values_of(self, features: Tensor, hidden: Tensor) -> Tensor:
        """The values ``[B, 1]`` of next features ``[B, F]`` after what was remembered ``[B, H]``."""
        latent = self.latent(self.encoder.step(features, hidden))
        return self.networks.values(self.columns.state(features), latent).unsqueeze(1)

    def latents_of(self, features: Tensor, hidden: Tensor, segments: Segments | None = None) -> Tensor:
        """The latents of sequences, see `HistoryEncoder.sequences`, as actor and critic see them."""
        return self.latent(self.encoder.sequences(features, hidden, segments))

    def evaluate(self, features: Tensor, latents: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate actions.

        Args:
            features: ``[B, F]``.
            latents: As actor and critic see them, ``[B, 2 z]``.
            actions: ``[B, A]``.

        Returns:
            Values, logarithms of the actions' probabilities and entropies, ``[B]`` each.
        """
        means, values = self.networks(self.columns.state(features), latents)
        distribution = self.distribution_of(means)
        entropy = distribution.entropy()
        assert entropy is not None
        return values, distribution.log_prob(actions), entropy

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Give the action for an observation, see `FinitePredictMixin.predict`.

        Args:
            observation: One observation or a batch.
            state: What the last call returned, None for no memory.
            episode_start: Makes no difference: observations say where a trial begins.
            deterministic: Whether to give the mean action rather than to draw one.

        Raises:
            ShapeError: The state is not one array ``[B, H]``.
        """
        self._memory = (
            None if state is None else torch.as_tensor(state[0], dtype=torch.float32, device=self.device)
        )
        try:
            actions, _ = super().predict(observation, state, episode_start, deterministic)
            assert self._memory is not None
            return actions, (self._memory.cpu().numpy(),)
        finally:
            self._memory = None

    _memory: Tensor | None = None

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        features = self._features(observation)
        hidden = self.encoder.nothing(len(features)) if self._memory is None else self._memory
        if hidden.shape != (len(features), self.encoder.hidden_size):
            raise ShapeError(
                f"the state of {len(features)} observations must have the shape "
                f"({len(features)}, {self.encoder.hidden_size}), got {tuple(hidden.shape)}"
            )
        actions, _, _, self._memory = self.act(features, hidden, deterministic)
        return actions

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return action, value and log probability without a memory.

        Args:
            obs: Observations by key.
            deterministic: Whether to give the mean action.
        """
        features = self._features(obs)
        actions, values, log_prob, _ = self.act(features, self.encoder.nothing(len(features)), deterministic)
        return actions, values, log_prob

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Evaluate actions without a memory.

        Args:
            obs: Observations by key.
            actions: ``[B, A]``.
        """
        features = self._features(obs)
        values, log_prob, entropy = self.evaluate(features, self._fresh_latent(features), actions)
        return values.unsqueeze(1), log_prob, entropy

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Return the distribution of actions without a memory.

        Args:
            obs: Observations by key.
        """
        features = self._features(obs)
        return self.distribution_of(
            self.networks(self.columns.state(features), self._fresh_latent(features))[0]
        )

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Return the values ``[B, 1]`` without a memory.

        Args:
            obs: Observations by key.
        """
        features = self._features(obs)
        return self.values_of(features, self.encoder.nothing(len(features)))

    def _fresh_latent(self, features: Tensor) -> Tensor:
        return self.latent(self.encoder.step(features, self.encoder.nothing(len(features))))

    def _features(self, obs: PyTorchObs) -> Tensor:
        assert isinstance(obs, dict)
        return self.columns.flat(obs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **self._given,
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "log_std_init": self.log_std_init,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }
