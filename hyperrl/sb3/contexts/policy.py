"""What the policies of all algorithms have in common whose networks see a context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from torch import Tensor

from hyperrl.errors import ConfigError, UnsupportedSpaceError
from hyperrl.plain_policy import DenseLayer
from hyperrl.sb3.contexts.extractor import ContextExtractor
from hyperrl.sb3.contexts.groups import Grouping
from hyperrl.sb3.contexts.networks import ContextNet, NetConfig, kind_class
from hyperrl.sb3.contexts.observed import Observed
from hyperrl.sb3.contexts.settings import (
    NetPlan,
    activation_name,
    check_fingerprint,
    checked_kind,
    count_of,
    fingerprint,
    planned,
    widths,
)

_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class ContextPolicyMixin(BasePolicy):
    """A policy whose networks see the state and, each in its own way, the context.

    Takes every argument of the policy that it is mixed into, but for state-dependent exploration and features
    extractors, and:

    Args:
        actor: How the actor sees the context: "unaware" (not at all), "concat" (as further inputs), "film"
            (it scales and shifts units), "cgate" (it gates units), "adapter" (the Decision Adapter) or
            "hyper" (it generates the network); or a table with ``kind`` and the kind's options, such as
            ``dict(kind="hyper", hypernet="lowrank")``.
        critic: The same for each value function.
        match_params: The number of trainable parameters that the actor's network and each value function are
            to have, or a table with one for "actor" and one for "critic": hidden layers get the width that is
            nearest to it, whatever ``net_arch`` says but for their number.
        contexts: What the agent read from its environment, see `Observed.to_plain`.

    Attributes:
        observed: The contexts.
        grouping: Finds the rows of a batch with the same context.

    Raises:
        ConfigError: A network wants to see a context that is hidden from it, or a setting is wrong.
        UnknownNameError: A kind or an option is unknown.
    """

    hidden_part = "qf"
    """The critic's key in ``net_arch``."""
    default_widths: ClassVar[tuple[int, ...]] = (256, 256)
    net_init = "torch"
    output_gains = (1.0, 1.0)
    """Factors on the first weights of the actor's and the critic's output layers."""
    side_outputs = False
    """Whether the actor has as many further outputs."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        actor: str | Mapping[str, Any] = "hyper",
        critic: str | Mapping[str, Any] = "concat",
        match_params: int | Mapping[str, int] | None = None,
        contexts: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(action_space, spaces.Box):
            raise UnsupportedSpaceError(f"actions must be a Box, got {action_space}")
        if kwargs.get("use_sde"):
            raise ConfigError("networks with contexts have no state-dependent exploration: leave use_sde out")
        extractor = kwargs.get("features_extractor_class")
        if extractor not in (None, FlattenExtractor, CombinedExtractor, ContextExtractor):
            raise ConfigError(
                "networks with contexts find the context in the last columns of the observation: leave "
                "features_extractor_class out"
            )
        dictionary = isinstance(observation_space, spaces.Dict)
        kwargs["features_extractor_class"] = ContextExtractor if dictionary else FlattenExtractor
        self._given: dict[str, Any] = {
            "actor": actor,
            "critic": critic,
            "match_params": match_params,
            "contexts": contexts,
        }
        self.observed = (
            Observed.of_space(observation_space) if contexts is None else Observed.from_plain(contexts)
        )
        self.kinds = {part: checked_kind(part, self._given[part])[0] for part in ("actor", "critic")}
        self.observed.check_kinds(*(kind_class(kind).sees_context for kind in self.kinds.values()))
        self.grouping = Grouping()
        optimizer_kwargs = dict(kwargs.get("optimizer_kwargs") or {})
        optimizer_class = kwargs.get("optimizer_class", torch.optim.Adam)
        if optimizer_class in _FUSED and not {"fused", "foreach", "capturable"} & set(optimizer_kwargs):
            optimizer_kwargs["fused"] = True
        kwargs["optimizer_kwargs"] = optimizer_kwargs
        super().__init__(observation_space, action_space, *args, **kwargs)

    def plan(self, part: str) -> NetPlan:
        """Return how the actor's network or a value function is built.

        Args:
            part: "actor" or "critic".
        """
        arch: Any = self.net_arch
        activation_fn: Any = self.activation_fn
        is_actor = part == "actor"
        config = NetConfig(
            widths(self.default_widths if arch is None else arch, "pi" if is_actor else self.hidden_part),
            activation_name(activation_fn),
            self.net_init,
            self.output_gains[0 if is_actor else 1],
        )
        actions = get_action_dim(self.action_space)
        state = self.features_size - self.observed.size
        inputs = state if is_actor or self.hidden_part == "vf" else state + actions
        side = actions if is_actor and self.side_outputs else 0
        dims = (inputs, self.observed.size, actions if is_actor else 1)
        return planned(part, self._given[part], config, dims, self._given["match_params"], side)

    @property
    def features_size(self) -> int:
        """Numbers of an observation, its context included."""
        return int(self.make_features_extractor().features_dim)

    def networks(self) -> dict[str, ContextNet]:
        """Return the actor's network, and one value function's."""
        raise NotImplementedError

    @property
    def parameter_counts(self) -> dict[str, dict[str, Any]]:
        """What the actor's network ("actor") and each value function ("critic") are, and how large.

        A table of kind, hidden widths, trainable parameters and numbers generated for a context.
        """
        return {part: count_of(net, self.kinds[part]) for part, net in self.networks().items()}

    def plain_layers(self, context: Tensor | None) -> list[DenseLayer]:
        """Return the actor in one context as plain layers.

        Args:
            context: As observations have it, ``[d]``; None where the actor sees none.
        """
        net = self.networks()["actor"]
        constant = torch.ones(net.context_dim)
        return net.layers(constant if context is None or not len(context) else context)

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

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = {**super()._get_constructor_parameters(), **self._given}
        for name in ("use_sde", "squash_output", "full_std", "use_expln", "clip_mean"):
            parameters.pop(name, None)
        return parameters
