"""Application of a context network to features, with what contexts alone decide kept while acting."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hyperrl.nets.cache import WeightWatch
from hyperrl.sb3.contexts.groups import Grouping, Groups
from hyperrl.sb3.contexts.networks import ContextNet


class Runner:
    """Splits features into input and context, and applies a network.

    Without gradients, what the network prepares for its contexts is kept until they or the network's weights
    change: acting costs one plain network, however large the hypernetwork is.

    Args:
        net: The network.
        grouping: Finds rows with the same context; networks of one policy share it.
    """

    def __init__(self, net: ContextNet, grouping: Grouping) -> None:
        self._net = net
        self._grouping = grouping
        self._watch = WeightWatch(net)
        self._kept: tuple[Groups, Callable[[Tensor], Tensor]] | None = None

    def __call__(self, features: Tensor, more: Tensor | None = None, groups: Groups | None = None) -> Tensor:
        """Apply the network.

        Args:
            features: ``[B, S + d]``, the context in the last columns.
            more: Further inputs ``[B, n]``, behind the first S.
            groups: Which row has which context; found where it is not given and matters.

        Returns:
            ``[B, out]``.
        """
        size = self._net.input_dim - (0 if more is None else more.shape[1])
        x, contexts = features[:, :size], features[:, size:]
        if more is not None:
            x = torch.cat([x, more], dim=1)
        if not self._net.needs_groups:
            out: Tensor = self._net(x, Groups.by_row(contexts))
            return out
        if groups is not None:
            return self._net(x, groups)  # type: ignore[no-any-return]
        groups = self._grouping.of(contexts)
        if torch.is_grad_enabled() or not self._grouping.remembers(groups):
            return self._net(x, groups)  # type: ignore[no-any-return]
        if self._watch.changed() or self._kept is None or self._kept[0] is not groups:
            self._kept = groups, self._net.acting(groups)
        return self._kept[1](x)

    def __reduce__(self) -> tuple[type[Runner], tuple[ContextNet, Grouping]]:
        """Copy and pickle without what is kept."""
        return Runner, (self._net, self._grouping)
