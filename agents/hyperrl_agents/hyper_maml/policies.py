"""HyperMAML's policy as Stable-Baselines3 has policies: it acts by the context it sees, not adapted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from hyperrl.errors import ConfigError, UnsupportedSpaceError
from hyperrl.nets import Generated
from hyperrl.nets.cache import WeightWatch
from hyperrl.nets.matching import count_params
from hyperrl.plain_policy import DenseLayer
from hyperrl.ranges import between
from hyperrl.sb3.contexts.extractor import ordered_keys
from hyperrl.sb3.contexts.observed import Observed
from hyperrl.sb3.contexts.settings import check_fingerprint, fingerprint
from hyperrl.sb3.finite import FinitePredictMixin
from hyperrl_agents.hyper_maml.actor import TaskActor, TaskWeights
from hyperrl_agents.hyper_maml.networks import TaskNetwork, checked_actor, make_network


class HyperMAMLPolicy(FinitePredictMixin, BasePolicy):
    """A Gaussian policy for each context.

    Observations are a vector with the context in its last numbers, or a dict with ``context`` and other
    vectors. Weights are generated once for each distinct context of a batch, and kept while these stay.

    Args:
        observation_space: The observations.
        action_space: The actions, a Box.
        lr_schedule: Unused: the outer step has no learning rate.
        actor: "hyper" (the context generates the policy) or "mlp" (one network for all tasks), or a table
            with ``kind`` and the options of `GeneratedNetwork` or `SharedNetwork`, for example
            ``{"kind": "hyper", "hypernet": "modular", "modules": 8}``.
        log_std_init: Where the logarithm of the standard deviation starts.
        contexts: What the agent read from its environment, see `Observed.to_plain`.

    Attributes:
        actor: Network and standard deviation.
        observed: The contexts.

    Raises:
        UnsupportedSpaceError: The spaces are of another kind.
        ConfigError: The context is needed and is hidden, or a size makes no network.
        UnknownNameError: A name is unknown.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        actor: str | Mapping[str, Any] = "hyper",
        log_std_init: float = 0.0,
        contexts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, spaces.Box):
            raise UnsupportedSpaceError(f"HyperMAML needs a Box of actions, got {action_space}")
        _check_vectors(observation_space)
        kind, options = checked_actor(actor)
        self._settings: dict[str, Any] = {"actor": actor, "log_std_init": log_std_init, "contexts": contexts}
        self.observed = (
            Observed.of_space(observation_space) if contexts is None else Observed.from_plain(contexts)
        )
        self.observed.check_kinds(kind == "hyper" or bool(options.get("sees_context")), False)
        self._keys = ordered_keys(observation_space) if isinstance(observation_space, spaces.Dict) else None
        inputs = get_flattened_obs_dim(observation_space)
        if inputs <= self.observed.size:
            raise ConfigError(
                f"observations of {inputs} numbers have nothing but the context of {self.observed.size}"
            )
        self.state_size, self.kind = inputs - self.observed.size, kind
        actions = get_action_dim(action_space)
        network = make_network(kind, self.state_size, self.observed.size, actions, options)
        self.actor = TaskActor(network, actions, between(-13, 5).check("log_std_init", log_std_init))
        self._watch = WeightWatch(self.actor)
        self._last: tuple[Tensor, Tensor, Generated, TaskWeights] | None = None

    def networks(self) -> dict[str, TaskNetwork]:
        """Return the actor's network."""
        return {"actor": self.actor.network}

    @property
    def parameter_counts(self) -> dict[str, dict[str, Any]]:
        """What the actor is and how large: kind, hidden widths, trainable and generated numbers."""
        network = self.actor.network
        return {
            "actor": {
                "kind": self.kind,
                "hidden": [layer.out_features for layer in network.spec.layers[:-1]],
                "trainable": count_params(self.actor),
                "generated": network.spec.numel if self.kind == "hyper" else 0,
            }
        }

    def seen(self, contexts: Tensor) -> Tensor:
        """Return what the actor sees of contexts ``[T, d]``: all of it, or nothing, ``[T, 0]``."""
        return contexts if self.actor.network.sees_context else contexts[:, :0]

    def features(self, observation: PyTorchObs) -> Tensor:
        """Return observations as rows with the context last, ``[B, S + d]``."""
        if isinstance(observation, Mapping):
            assert self._keys is not None
            return torch.cat([observation[key].float().flatten(1) for key in self._keys], dim=1)
        return observation.float().flatten(1)

    def forward(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        """Return actions ``[B, *A]``, not clipped."""
        features = self.features(observation)
        states, contexts = features[:, : self.state_size], features[:, self.state_size :]
        ids, generated, tasks = self._generated(self.seen(contexts))
        rows = generated.index(ids)
        mean = self.actor.mean(rows, tasks.conditions[ids], states.unsqueeze(1)).squeeze(1)
        if not deterministic:
            mean = mean + tasks.log_std[ids].exp() * torch.randn_like(mean)
        return mean.reshape(-1, *(self.action_space.shape or ()))

    def plain_layers(self, context: Tensor | None) -> list[DenseLayer]:
        """Return the actor in one context as plain layers.

        Args:
            context: As observations have it, ``[d]``; None where the actor sees none.
        """
        if context is None or not self.actor.network.sees_context:
            context = torch.zeros(0)
        conditions = context.to(self.device).reshape(1, -1)
        with torch.no_grad():
            tasks = self.actor.task_weights(self.actor.by_name(), {}, conditions)
        return plain_layers(self.actor, tasks, 0)

    def get_extra_state(self) -> Tensor:
        """Return what the numbers of a context mean, for files of weights."""
        return fingerprint(self.observed)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse weights that were trained for other contexts.

        Args:
            state: What `get_extra_state` returned.

        Raises:
            ContextError: The contexts have other names, another order or another normalisation.
        """
        check_fingerprint(state, self.observed)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        actions: Tensor = self(observation, deterministic)
        return actions

    def _generated(self, contexts: Tensor) -> tuple[Tensor, Generated, TaskWeights]:
        """Return the policies of a batch's distinct contexts, and which row has which."""
        if not self._watch.changed() and self._last is not None:
            known, ids, generated, tasks = self._last
            if known.shape == contexts.shape and torch.equal(known, contexts):
                return ids, generated, tasks
        if contexts.shape[1]:
            distinct, ids = torch.unique(contexts, dim=0, return_inverse=True)
        else:
            distinct, ids = contexts[:1], torch.zeros(len(contexts), dtype=torch.long, device=self.device)
        with torch.no_grad():
            tasks = self.actor.task_weights(self.actor.by_name(), {}, distinct)
        generated = Generated.from_flat(self.actor.network.spec, tasks.weights)
        self._last = contexts.clone(), ids, generated, tasks
        return ids, generated, tasks

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            **self._settings,
        }


class HyperMAMLMultiInputPolicy(HyperMAMLPolicy):
    """The same, for observations that are a dict with a ``context``."""


@torch.no_grad()
def plain_layers(actor: TaskActor, tasks: TaskWeights, task: int) -> list[DenseLayer]:
    """Return the mean of one task's policy as layers of the state alone.

    Args:
        actor: The policies.
        tasks: Their weights.
        task: Which one.
    """
    spec = actor.network.spec
    named = spec.unflatten(tasks.weights[task])
    layers = []
    for index, layer in enumerate(spec.layers):
        weight, bias = named[layer.weight], named[str(layer.bias)]
        if layer.gain is not None:
            weight = named[layer.gain].unsqueeze(1) * weight
        if not index and actor.network.joins_context:
            size = tasks.conditions.shape[1]
            bias = bias + weight[:, -size:] @ tasks.conditions[task]
            weight = weight[:, :-size]
        layers.append(DenseLayer(weight.cpu().numpy(), bias.cpu().numpy(), layer.activation))
    return layers


def _check_vectors(space: spaces.Space[Any]) -> None:
    for part in space.spaces.values() if isinstance(space, spaces.Dict) else [space]:
        if not isinstance(part, spaces.Box) or len(part.shape) != 1:
            raise UnsupportedSpaceError(
                f"HyperMAML takes observations that are vectors, or a dict of vectors, got {part}"
            )
