"""Actor and critic as base networks of a shared embedding of the state, generated from the latent or not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperrl.nets import HyperNet, TargetMLP, TargetSpec
from hyperrl.nets.contraction import Contraction
from hyperrl.nets.hypernet import resolve_kind
from hyperrl.nets.init import InitConfig
from hyperrl.plain_policy import DenseLayer
from hyperrl.sb3.contexts.networks.base import listed_widths
from hyperrl.sb3.meta.choices import NetworkChoice, choose

NETWORKS = ("hyper", "concat", "film")
"""How a base network sees the latent: it is generated from it, joined with it, or rescaled by it."""

_OF_TRUNK = ("trunk", "trunk_hidden")
_OPTIONS = {"hyper": _OF_TRUNK, "concat": (), "film": ()}
_HIDDEN_GAIN = 5 / 3  # torch's `calculate_gain` of a tanh.


def base_spec(inputs: int, hidden: Sequence[int], outputs: int, output_gain: float) -> TargetSpec:
    """Describe a base network: tanh layers whose first weights are Gaussian rows of a certain length.

    Args:
        inputs: Size of the embedded state.
        hidden: Hidden widths.
        outputs: Number of outputs.
        output_gain: Length of the output layer's first rows; that of the others is 5/3.
    """
    spec = TargetSpec.mlp(
        inputs, hidden, outputs, activation="tanh", init="normc", output_init_gain=output_gain
    )
    last = len(hidden)
    tensors = tuple(
        tensor if tensor.layer == last else dataclasses.replace(tensor, init_gain=_HIDDEN_GAIN)
        for tensor in spec.tensors
    )
    return dataclasses.replace(spec, tensors=tensors)


def chosen_network(part: str, given: str | Mapping[str, Any]) -> NetworkChoice:
    """Return which network it is.

    Args:
        part: "actor" or "critic".
        given: One of `NETWORKS`, or a table with ``kind`` and, for "hyper", ``hypernet`` ("linear"), options
            of that kind, ``trunk`` and ``trunk_hidden``.

    Raises:
        UnknownNameError: There is no such network, hypernetwork or option.
        ConfigError: It is neither name nor table, or the hypernetwork cannot be one.
    """
    return choose(part, given, _OPTIONS, "linear", _OF_TRUNK)


class BaseNetwork(nn.Module):
    """A base network whose weights come from features of the latent, or that sees them.

    Args:
        choice: Which network, see `chosen_network`.
        features: Number of features k.
        spec: The base network.
        init: How the hypernetwork's head starts, see `hyperrl.nets.init.InitConfig`.
        contraction: The order in which generated layers are evaluated.

    Raises:
        UnknownNameError: There is no such trunk, initialiser or contraction.
        ConfigError: An option makes no network.
    """

    def __init__(
        self,
        choice: NetworkChoice,
        features: int,
        spec: TargetSpec,
        init: InitConfig,
        contraction: Contraction = "auto",
    ) -> None:
        super().__init__()
        # The features are a tanh of a latent of about unit size.
        sample = torch.randn(512, features).tanh()
        kind = choice.hypernet or choice.kind
        options = {**_trunk_of(choice), **choice.hypernet_options}
        self.hyper = HyperNet(spec, features, kind, init=init, condition_sample=sample, **options)
        self.target = TargetMLP(spec, contraction)

    def forward(self, features: Tensor, embedded: Tensor) -> Tensor:
        """Apply the network.

        Args:
            features: One row for each row of the state, ``[B, k]``.
            embedded: The embedded state, ``[B, inputs]``.

        Returns:
            ``[B, outputs]``.
        """
        return self.target(self.hyper(features), embedded)

    @property
    def generated(self) -> int:
        """Numbers that are generated for each latent."""
        return self.hyper.n_generated()


def _trunk_of(choice: NetworkChoice) -> dict[str, Any]:
    """Return what is between the embedded latent and the head: nothing, unless the kind is all about it."""
    if choice.hypernet is None or not resolve_kind(choice.hypernet).takes_trunk:
        return {}
    found: dict[str, Any] = {}
    if "trunk_hidden" in choice.options:
        found["hidden"] = listed_widths("trunk_hidden", choice.options["trunk_hidden"])
    needs = choice.hypernet == "mlp" or bool(found)
    return {"trunk": choice.options.get("trunk", "mlp" if needs else "none"), **found}


class ActorCriticNetworks(nn.Module):
    """Embeddings of state and latent, which actor and critic share, and a base network for each.

    Args:
        state_size: Numbers of the state S.
        latent_size: Numbers of the latent as policies see it.
        actions: Numbers of an action A.
        actor: One of `NETWORKS` or a table, see `chosen_network`.
        critic: The same for the critic.
        state_features: Size of the embedded state.
        latent_features: Size k of the embedded latent.
        hidden: Hidden widths of actor and critic.
        output_gain: Length of the first rows of the actor's output layer.
        init: How hypernetworks start.
        contraction: The order in which generated layers are evaluated.
    """

    def __init__(
        self,
        state_size: int,
        latent_size: int,
        actions: int,
        *,
        actor: str | Mapping[str, Any],
        critic: str | Mapping[str, Any],
        state_features: int,
        latent_features: int,
        hidden: tuple[Sequence[int], Sequence[int]],
        output_gain: float,
        init: InitConfig,
        contraction: Contraction = "auto",
    ) -> None:
        super().__init__()
        self.state = nn.Linear(state_size, state_features)
        self.latent = nn.Linear(latent_size, latent_features)
        actor_spec = base_spec(state_features, hidden[0], actions, output_gain)
        # Rows as long as those of the published Kaiming initialiser, U(±sqrt(6 / inputs)), are on average.
        critic_spec = base_spec(state_features, hidden[1], 1, math.sqrt(2))
        chosen = chosen_network("actor", actor), chosen_network("critic", critic)
        self.actor = BaseNetwork(chosen[0], latent_features, actor_spec, init, contraction)
        self.critic = BaseNetwork(chosen[1], latent_features, critic_spec, init, contraction)

    def forward(self, state: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean actions ``[B, A]`` and values ``[B]`` for states ``[B, S]`` and latents of each."""
        embedded, features = self.state(state).tanh(), self.latent(latent).tanh()
        return self.actor(features, embedded), self.critic(features, embedded).squeeze(-1)

    def values(self, state: Tensor, latent: Tensor) -> Tensor:
        """Return values ``[B]`` alone."""
        values: Tensor = self.critic(self.latent(latent).tanh(), self.state(state).tanh())
        return values.squeeze(-1)

    @torch.no_grad()
    def plain_layers(self, latent: Tensor) -> list[DenseLayer]:
        """Return the actor of one latent as plain layers of the state.

        Args:
            latent: As policies see it, ``[2 z]``.
        """
        generated = self.actor.hyper(self.latent(latent).tanh())
        layers = [(self.state.weight, self.state.bias, "tanh")]
        for layer, weight in zip(generated.spec.layers, generated.weights, strict=True):
            assert layer.bias is not None
            layers.append((weight.dense().t(), generated.vector(layer.bias), layer.activation))
        return [
            DenseLayer(weight.cpu().float().numpy(), bias.cpu().float().numpy(), activation)
            for weight, bias, activation in layers
        ]
