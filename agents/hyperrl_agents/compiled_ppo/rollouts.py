"""Rollouts without dispatch: the policy is one graph, and reads and fills the rollout buffer's own memory."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from hyperrl.sb3.compiled_updates import CompiledUpdates
from hyperrl.sb3.rollouts import Act, Rollouts


class CompiledRollouts(CompiledUpdates, Rollouts):
    """Mixin for on-policy algorithms that act by a compiled graph while they collect.

    What `_acting` gives no graph for, Stable-Baselines3 itself collects.
    """

    def _collects_itself(self) -> bool:
        return self._acting() is not None

    def _acting(self) -> Any:
        """Return the compiled acting if this rollout is to use it, else None."""
        raise NotImplementedError

    def _make_act(self, rollout_buffer: RolloutBuffer) -> Act:
        graph = self._acting()

        def act(observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            if graph is not None:
                acted: tuple[Tensor, Tensor, Tensor] | None = self._attempt(
                    self._compiled[0], graph, observations
                )
                if acted is not None:
                    return acted
            actions, values, log_probs = self.policy(observations)
            return actions, values, log_probs

        return act
