"""What SAC and TD3 have in common whose policies see a context."""

from __future__ import annotations

from typing import Any

from hyperrl.errors import ConfigError
from hyperrl.sb3.contexts.agent import ContextAgentMixin
from hyperrl.sb3.contexts.networks import ContextNet
from hyperrl.sb3.contexts.observed import Observed
from hyperrl.sb3.contexts.replay import BALANCES, ContextReplayBuffer
from hyperrl.sb3.off_policy import OffPolicyUpdates
from hyperrl.sb3.packed_buffer import PackedReplayBuffer


class ContextOffPolicyMixin(ContextAgentMixin, OffPolicyUpdates):
    """Mixin for off-policy algorithms with contexts.

    Takes every argument of the algorithm that it is mixed into, and:

    Args:
        contexts_per_batch: Draw batches of so many contexts with the same number of transitions each, see
            `ContextReplayBuffer`; what is generated from contexts then costs the same however large batches
            are. None draws transitions one by one.
        balance: How these contexts are drawn, "transitions" or "contexts".

    Raises:
        ConfigError: ``batch_size`` is no multiple of the contexts of a batch, or there are no contexts.
    """

    def __init__(
        self, *args: Any, contexts_per_batch: int | None = None, balance: str = "transitions", **kwargs: Any
    ) -> None:
        self.contexts_per_batch = contexts_per_batch
        self.balance = balance
        super().__init__(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 256) -> None:
        """Update as the algorithm does, with what is known of batches.

        Args:
            gradient_steps: Number of updates.
            batch_size: Transitions per update.
        """
        each = None if self.contexts_per_batch is None else batch_size // self.contexts_per_batch
        with self.policy.grouping.regular(each):
            super().train(gradient_steps, batch_size)
        # A replayed graph changes weights unseen.
        self.policy.grouping.forget()

    def _setup_model(self) -> None:
        if self.contexts_per_batch is not None and self.env is not None:
            self._group_batches(Observed.of_env(self.env).size)
        super()._setup_model()

    def _group_batches(self, size: int) -> None:
        count = self.contexts_per_batch
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"contexts_per_batch must be a positive integer, got {count!r}")
        if self.balance not in BALANCES:
            raise ConfigError(f"balance must be one of {', '.join(BALANCES)}, got {self.balance!r}")
        if not size:
            raise ConfigError(
                "contexts_per_batch groups transitions by the context, but observations have none: leave it "
                "out"
            )
        if self.batch_size % count:
            raise ConfigError(
                f"batch_size must be a multiple of the {count} contexts of a batch (contexts_per_batch), got "
                f"{self.batch_size}"
            )
        if self.replay_buffer_class not in (None, ContextReplayBuffer):
            raise ConfigError(
                "contexts_per_batch has a replay buffer of its own: leave replay_buffer_class out"
            )
        vectors = PackedReplayBuffer.takes(self.observation_space, self.action_space)
        if (
            self.n_steps != 1
            or self.optimize_memory_usage
            or not (vectors or ContextReplayBuffer.takes_dict(self.observation_space))
        ):
            raise ConfigError(
                "contexts_per_batch needs observations that are vectors, returns of one step (n_steps = 1) "
                "and no optimize_memory_usage"
            )
        self.replay_buffer_class = ContextReplayBuffer
        own = {"context_size": size, "groups": count, "balance": self.balance}
        self.replay_buffer_kwargs = {**self.replay_buffer_kwargs, **own}

    def _why_ungrouped(self) -> str | None:
        """Say why weights cannot be generated in a compiled update, or None."""
        if not self.observed.size or self.contexts_per_batch is not None:
            return None
        for part, net in self.policy.networks().items():
            if isinstance(net, ContextNet) and net.generates_matrices:
                return (
                    f"the {part} generates weights for contexts, of which any number can be in a batch: give "
                    "contexts_per_batch"
                )
        return None
