"""HyperPEARL's networks as a policy of Stable-Baselines3: it acts in the task that its latent stands for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from hyperrl.errors import ConfigError, UnsupportedSpaceError, unknown_name
from hyperrl.nets.cache import WeightWatch
from hyperrl.ranges import whole
from hyperrl.sb3.contexts.networks.base import listed_widths
from hyperrl.sb3.contexts.observed import KEY, Observed
from hyperrl.sb3.finite import FinitePredictMixin
from hyperrl_agents.hyper_pearl.encoder import ContextEncoder
from hyperrl_agents.hyper_pearl.networks import (
    FAST_PRIMARY,
    ActIn,
    Gaussians,
    Shape,
    Value,
    chosen_networks,
    make_policy,
    make_q,
    make_v,
)

INFERENCES = ("posterior", "oracle")
"""`posterior`: the task is inferred from transitions. `oracle`: observations say it."""

_HIDDEN = {"hyper": (256,), "mlp": (300, 300, 300)}


class HyperPEARLPolicy(FinitePredictMixin, BasePolicy):
    """Policy, value functions and encoder of HyperPEARL.

    Args:
        observation_space: A vector, with "oracle" the context in its last numbers, or a dict of the two.
        action_space: The actions, a bounded Box.
        lr_schedule: Learning rate.
        net_arch: Hidden widths of policy and value functions; None for 256 where they are generated, and
            three layers of 300 for "mlp".
        networks: "hyper", or "mlp" for the plain networks of PEARL itself; or a table that names another
            hypernetwork, such as ``{"kind": "hyper", "hypernet": "modular", "modules": 8}``.
        primary: Widths of the residual primary networks; (256, 512, 1024) as published.
        blocks: Residual blocks per width.
        latent: Numbers of the latent, where the task is inferred.
        encoder_arch: Hidden widths of the encoder.
        next_states: Whether the encoder sees next states too: where tasks differ in their dynamics.
        infer: "posterior" or "oracle".
        contexts: The environment's contexts, as `Observed.to_plain` returns them; the agent fills it in.
        optimizer_class: The optimiser of all parts.
        optimizer_kwargs: Its arguments.

    Attributes:
        actor: The policy.
        q1: The first Q-function.
        q2: The second one.
        v: The value function of states.
        v_target: Its slow copy.
        encoder: What infers the task; None for "oracle".
        latent: What `predict` acts by where the task is inferred, ``[C]``; at first the prior's mean, 0.

    Raises:
        UnsupportedSpaceError: The spaces are of another kind.
        ConfigError: A size makes no network, or the context cannot be seen.
        UnknownNameError: A name is unknown.
    """

    latent: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: Sequence[int] | None = None,
        *,
        networks: str | Mapping[str, Any] = "hyper",
        primary: Sequence[int] = FAST_PRIMARY,
        blocks: int = 2,
        latent: int = 5,
        encoder_arch: Sequence[int] = (200, 200, 200),
        next_states: bool = False,
        infer: str = "posterior",
        contexts: Mapping[str, Any] | None = None,
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
            raise UnsupportedSpaceError(f"HyperPEARL needs a Box of actions, got {action_space}")
        if infer not in INFERENCES:
            raise unknown_name("way to know the task (infer)", str(infer), INFERENCES)
        choice = chosen_networks(networks)
        self._settings: dict[str, Any] = {
            "net_arch": None if net_arch is None else list(_widths("net_arch", net_arch)),
            "networks": networks,
            "primary": list(_widths("primary", primary)),
            "blocks": blocks,
            "latent": latent,
            "encoder_arch": list(_widths("encoder_arch", encoder_arch)),
            "next_states": next_states,
            "infer": infer,
            "contexts": contexts,
        }
        self.observed = (
            Observed.of_space(observation_space) if contexts is None else Observed.from_plain(contexts)
        )
        self.state_size = _state_size(observation_space, self.observed, infer)
        self.next_states = bool(next_states)
        latents = int(whole(1, 1e6).check("policy_kwargs.latent", latent))
        self.shape = Shape(
            state=self.state_size,
            action=int(np.prod(action_space.shape)),
            latent=self.observed.size if infer == "oracle" else latents,
            kind=choice.kind,
            hidden=_widths("net_arch", _HIDDEN[choice.kind] if net_arch is None else net_arch),
            primary=_widths("primary", primary),
            blocks=int(whole(0, 1000).check("policy_kwargs.blocks", blocks)),
            hypernet=choice.hypernet or "mlp",
            options=choice.hypernet_options,
        )
        self._build(_widths("encoder_arch", encoder_arch), lr_schedule)

    def _build(self, encoder_arch: tuple[int, ...], lr_schedule: Schedule) -> None:
        shape = self.shape
        self.actor = make_policy(shape)
        self.q1, self.q2 = make_q(shape), make_q(shape)
        self.v = make_v(shape)
        self.v_target: Value = copy.deepcopy(self.v).requires_grad_(False)
        self.encoder: ContextEncoder | None = None
        if self._settings["infer"] == "posterior":
            seen = shape.state * (2 if self.next_states else 1) + shape.action + 1
            self.encoder = ContextEncoder(seen, shape.latent, encoder_arch)
        self.register_buffer("latent", torch.zeros(shape.latent), persistent=False)
        arguments: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        if self.optimizer_class is torch.optim.Adam:
            arguments.setdefault("fused", True)
        critics = [*self.q1.parameters(), *self.q2.parameters()]
        # Stable-Baselines3 saves optimisers that are attributes.
        self.actor_optimizer = self.optimizer_class(self.actor.parameters(), **arguments)
        self.critic_optimizer = self.optimizer_class(critics, **arguments)
        self.value_optimizer = self.optimizer_class(self.v.parameters(), **arguments)
        if self.encoder is not None:
            self.encoder_optimizer = self.optimizer_class(self.encoder.parameters(), **arguments)
        self._watch = WeightWatch(self.actor)
        self._kept: tuple[Tensor, ActIn] | None = None

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers of "critic" (both Q-functions), "encoder" (if any), "value" and "actor"."""
        names = ("critic", "encoder", "value", "actor")
        return {
            name: getattr(self, f"{name}_optimizer") for name in names if hasattr(self, f"{name}_optimizer")
        }

    def split(self, observations: PyTorchObs) -> tuple[Tensor, Tensor]:
        """Return states ``[B, S]`` and latents ``[B, C]`` of a batch of observations."""
        if isinstance(observations, Mapping):
            (states,) = (part for key, part in observations.items() if key != KEY)
            return states.float(), observations[KEY].float()
        rows = observations.float()
        if self.encoder is not None:
            return rows, self.latent.expand(len(rows), -1)
        return rows[:, : self.state_size], rows[:, self.state_size :]

    def gaussians(self, states: Tensor, latents: Tensor) -> Gaussians:
        """Means and log-standard deviations ``[B, A]``; weights are kept while latents and networks stay.

        Args:
            states: ``[B, S]``.
            latents: ``[B, C]``.
        """
        distinct, tasks = torch.unique(latents, dim=0, return_inverse=True)
        if self._watch.changed() or self._kept is None or not _equal(self._kept[0], distinct):
            self._kept = (distinct, self.actor.act_in(distinct))
        return self._kept[1](tasks, states)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        with torch.no_grad():
            mean, log_std = self.gaussians(*self.split(observation))
            raw = mean if deterministic else mean + log_std.exp() * torch.randn_like(mean)
            return raw.tanh()

    def forward(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        """Return actions ``[B, A]`` in [-1, 1]."""
        return self._predict(observation, deterministic)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            **self._settings,
        }


class HyperPEARLMultiInputPolicy(HyperPEARLPolicy):
    """The same, for observations that are a dict of a vector and "context"."""


def _state_size(space: spaces.Space[Any], observed: Observed, infer: str) -> int:
    """Return the numbers of a state, refusing contexts that are seen and must not be, or the reverse."""
    if infer == "posterior" and observed.size:
        raise ConfigError(
            "HyperPEARL infers the task, and these observations tell it: set env_kwargs mode='hidden', or "
            "infer='oracle' to be told"
        )
    if infer == "oracle" and (not observed.size or observed.mode == "privileged"):
        raise ConfigError(
            "with infer='oracle' the policy sees the context, and these observations do not show it: set "
            "env_kwargs mode='visible', or infer='posterior'"
        )
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    own = [part for key, part in parts.items() if key != KEY]
    if len(own) != 1 or not isinstance(own[0], spaces.Box) or len(own[0].shape) != 1:
        raise UnsupportedSpaceError(
            f"HyperPEARL needs observations that are a vector, or a dict of one and {KEY!r}, got {space}"
        )
    size = int(own[0].shape[0]) - (0 if isinstance(space, spaces.Dict) else observed.size)
    if size < 1:
        raise ConfigError(f"observations of {observed.size} numbers have nothing but the context")
    return size


def _widths(name: str, given: Sequence[int]) -> tuple[int, ...]:
    widths = listed_widths(f"policy_kwargs.{name}", given)
    return tuple(int(whole(1, 1e6).check(f"policy_kwargs.{name}", width)) for width in widths)


def _equal(kept: Tensor, asked: Tensor) -> bool:
    return kept.shape == asked.shape and kept.device == asked.device and torch.equal(kept, asked)
