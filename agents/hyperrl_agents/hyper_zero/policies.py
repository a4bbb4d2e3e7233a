"""HyperZero's policy as Stable-Baselines3 has policies: it acts by the weights of the context it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from hyperrl.errors import ConfigError, ShapeError, UnsupportedSpaceError
from hyperrl.nets import GenerationCache, apply_grouped
from hyperrl.ranges import whole
from hyperrl.sb3.finite import FinitePredictMixin
from hyperrl_agents.hyper_zero.inference import TaskEncoder
from hyperrl_agents.hyper_zero.methods import find_method
from hyperrl_agents.hyper_zero.networks import (
    PUBLISHED_EMBEDDING,
    ContextNetworks,
    Shape,
    count_parameters,
    matched,
)

OBSERVATION, CONTEXT = "observation", "context"
_KEPT_CONTEXTS = 16


class HyperZeroPolicy(FinitePredictMixin, BasePolicy):
    """A deterministic policy for each context.

    Observations are a dict of "observation" and "context", or one vector whose last numbers are the context.
    Weights are generated once for each distinct context of a batch, and kept while the contexts stay.

    Args:
        observation_space: The observations.
        action_space: The actions, a bounded Box.
        lr_schedule: Learning rate.
        net_arch: Hidden widths of policy and value function.
        method: One of `hyperrl_agents.hyper_zero.methods.METHODS`.
        context_size: Numbers of the context within a vector; a dict says it itself.
        activation: Hidden activation of policy and value function.
        embedding: Widths of the context's residual embedding.
        blocks: Residual blocks per width.
        init: Initialiser of the heads, see `hyperrl.nets.INITS`; None for the published one.
        match_params: Whether hidden layers become as wide as it takes to have as many parameters as
            HyperZero has with `net_arch`.
        latent: Numbers of the latent where the task is inferred.
        optimizer_class: The optimiser.
        optimizer_kwargs: Its arguments.

    Attributes:
        networks: Policy and value function.
        encoder: What infers the task; None where the context says it.

    Raises:
        UnsupportedSpaceError: The spaces are of another kind.
        ConfigError: A size makes no network.
        UnknownNameError: A name is unknown.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: Sequence[int] = (256,),
        *,
        method: str = "hyperzero",
        context_size: int | None = None,
        activation: str = "relu",
        embedding: Sequence[int] = PUBLISHED_EMBEDDING,
        blocks: int = 2,
        init: str | None = None,
        match_params: bool = False,
        latent: int = 256,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=dict(optimizer_kwargs or {}),
            squash_output=True,
        )
        if not isinstance(action_space, spaces.Box):
            raise UnsupportedSpaceError(f"HyperZero needs a Box of actions, got {action_space}")
        self._settings: dict[str, Any] = {
            "net_arch": list(net_arch),
            "method": method,
            "context_size": context_size,
            "activation": activation,
            "embedding": list(embedding),
            "blocks": blocks,
            "init": init,
            "match_params": match_params,
            "latent": latent,
        }
        self.method = find_method(method)
        self.state_size, self.context_size = _sizes(observation_space, context_size)
        if self.context_size < 1 and not self.method.infers:
            raise ConfigError(f"the method {method} needs to see contexts: these observations have none")
        self._build(lr_schedule)

    def _build(self, lr_schedule: Schedule) -> None:
        settings, method = self._settings, self.method
        actions = int(np.prod(self.action_space.shape or ()))
        latent = int(whole(1, 1e6).check("policy_kwargs.latent", settings["latent"]))
        shape = Shape(
            state=self.state_size,
            action=actions,
            context=latent if method.infers else self.context_size,
            kind=method.kind,
            embedding=() if method.infers else tuple(settings["embedding"]),
            blocks=settings["blocks"],
            hidden=tuple(settings["net_arch"]),
            activation=settings["activation"],
            init=settings["init"],
            critic=method.critic,
        )
        if settings["match_params"]:
            if method.kind != "concat" or method.infers:
                raise ConfigError("match_params is for the methods context, uvfa, uvfa_td and maml")
            shape = matched(shape, count_parameters(replace(shape, kind="mlp")))
        self.networks = ContextNetworks(shape)
        self.encoder = TaskEncoder(self.state_size + actions, latent) if method.infers else None
        self._latents: Tensor | None = None
        self._cache = GenerationCache(self.networks.policy, _KEPT_CONTEXTS)
        arguments: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        if self.optimizer_class is torch.optim.Adam:
            arguments.setdefault("fused", True)
        self.optimizer = self.optimizer_class(self.parameters(), **arguments)

    def split(self, observations: PyTorchObs) -> tuple[Tensor, Tensor]:
        """Return states ``[B, s]`` and contexts ``[B, d]`` of a batch of observations."""
        if isinstance(observations, Mapping):
            return observations[OBSERVATION].float(), observations[CONTEXT].float()
        whole_rows = observations.float()
        return whole_rows[:, : self.state_size], whole_rows[:, self.state_size :]

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        states, contexts = self.split(observation)
        if self.encoder is not None:
            latents = self._latents_of(len(states))
            acted: Tensor = self.networks(latents, states.unsqueeze(1)).squeeze(1)
            return acted
        distinct, ids = torch.unique(contexts, dim=0, return_inverse=True)
        generated = self._cache.generate(distinct)
        return apply_grouped(self.networks.policy_target, generated, ids, states)

    def forward(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        """Return actions ``[B, a]`` in [-1, 1]."""
        return self._predict(observation, deterministic)

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Give actions, see `hyperrl.sb3.finite.FinitePredictMixin.predict`.

        Args:
            observation: One observation or a batch.
            state: Where the task is inferred: the last states and actions, as the call before returned them.
            episode_start: ``[B]``: where episodes begin, so that nothing is known of the task yet.
            deterministic: Makes no difference.

        Returns:
            The actions; and, where the task is inferred, what the next call takes as `state`.

        Raises:
            ShapeError: The last states and actions are of another number of rows.
            HyperRLError: As `FinitePredictMixin.predict`.
        """
        if self.encoder is None:
            return super().predict(observation, state, episode_start, deterministic)
        self._latents = self._infer(state, episode_start)
        try:
            actions, _ = super().predict(observation, None, None, deterministic)
        finally:
            self._latents = None
        return actions, (self._seen(observation, actions),)

    @torch.no_grad()
    def _infer(
        self, state: tuple[NDArray[Any], ...] | None, episode_start: NDArray[Any] | None
    ) -> Tensor | None:
        """Return the mean latents after the last transitions, 0 (the prior's) where episodes begin."""
        if state is None:
            return None
        assert self.encoder is not None
        last = torch.as_tensor(state[0], dtype=torch.float32, device=self.device)
        mean: Tensor = self.encoder(last)[0]
        if episode_start is not None:
            begins = torch.as_tensor(np.asarray(episode_start, bool), device=self.device)
            mean = torch.where(begins.unsqueeze(-1), torch.zeros_like(mean), mean)
        return mean

    def _latents_of(self, rows: int) -> Tensor:
        if self._latents is None:
            return torch.zeros(rows, self.networks.shape.context, device=self.device)
        if len(self._latents) != rows:
            raise ShapeError(f"there are {rows} observations, but the state is of {len(self._latents)}")
        return self._latents

    def _seen(self, observation: Any, actions: NDArray[Any]) -> NDArray[np.float32]:
        tensors, _ = self.obs_to_tensor(observation)
        states, _ = self.split(tensors)
        scaled = self.scale_action(actions.reshape(len(states), -1))
        return np.concatenate([states.cpu().numpy(), scaled], axis=1).astype(np.float32)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            **self._settings,
        }


class HyperZeroMultiInputPolicy(HyperZeroPolicy):
    """The same, for observations that are a dict of "observation" and "context"."""


def _sizes(space: spaces.Space[Any], context_size: int | None) -> tuple[int, int]:
    """Return the numbers of a state and of a context."""
    if isinstance(space, spaces.Dict):
        parts = {key: part.shape for key, part in space.spaces.items()}
        if set(parts) != {OBSERVATION, CONTEXT} or any(len(shape or ()) != 1 for shape in parts.values()):
            raise UnsupportedSpaceError(
                f"HyperZero needs vectors called {OBSERVATION!r} and {CONTEXT!r}, got {space}"
            )
        return int(parts[OBSERVATION][0]), int(parts[CONTEXT][0])  # type: ignore[index]
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise UnsupportedSpaceError(f"HyperZero needs observations that are a vector, got {space}")
    total = int(space.shape[0])
    size = int(whole(0, total - 1).check("context_size", 0 if context_size is None else context_size))
    return total - size, size
