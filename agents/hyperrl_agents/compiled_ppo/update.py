"""PPO's minibatch update as one graph: losses, gradient, its norm, Adam."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor
from torch.distributions import Distribution
from torch.func import grad_and_value
from torch.utils import _pytree as pytree

from hyperrl.compiled import CompiledFunction, MethodOf, Optimised, TrainedTensors, call
from hyperrl.sb3 import ppo_losses as losses
from hyperrl.sb3.ppo_metrics import METRICS

if TYPE_CHECKING:
    from hyperrl_agents.compiled_ppo.agent import CompiledPPO

"""What `PPOUpdate.epoch` tells of each minibatch, in this order, by the names that Stable-Baselines3 logs."""

_ROLLOUT = ("observations", "actions", "values", "log_probs", "advantages", "returns")


class PPOUpdate:
    """The minibatch update, on the policy's own parameters and optimiser.

    Schedules and coefficients are tensors that the graph reads: changing them compiles nothing anew. The
    whole rollout is an input of the graph too, which takes the rows of a minibatch out of it by number.

    Args:
        agent: The agent. Whether advantages are normalised, values clipped and updates stopped by the KL
            divergence becomes part of the graph, and so does the size of the rollout.
        compiled: Whether to compile it; otherwise it runs as it is written.
    """

    def __init__(self, agent: CompiledPPO, compiled: bool = True) -> None:
        self._agent = agent
        self._evaluate = MethodOf(agent.policy, "evaluate_actions")
        self._discrete = isinstance(agent.action_space, spaces.Discrete)
        self._normalises, self._clips_values = agent.normalize_advantage, agent.clip_range_vf is not None
        self._stops = agent.target_kl is not None
        self._rows = min(agent.batch_size, agent.n_steps * agent.n_envs)
        name = f"the update of {type(agent).__name__}"
        self._graph = CompiledFunction(self._step, name, compiled=compiled, strict=True)
        # The rows that are left over at the end of an epoch are not worth a graph of their own.
        self._remainder = CompiledFunction(self._step, name, compiled=False)
        self._settings = {
            name: torch.zeros((), device=agent.device)
            for name in ("clip_range", "clip_range_vf", "ent_coef", "vf_coef", "max_grad_norm", "largest_kl")
        }
        self._rollout: dict[str, Any] = {}
        self.tensors = TrainedTensors(
            {"policy": agent.policy},
            {"policy": Optimised.network(agent.policy.optimizer, agent.policy)},
            self._bind,
        )

    def load(self, buffer: RolloutBuffer, settings: dict[str, float]) -> None:
        """Take over a rollout and the numbers that hold while it is learned from.

        Args:
            buffer: The rollout, which does not change.
            settings: ``clip_range``, ``ent_coef``, ``vf_coef``, ``max_grad_norm``, and ``clip_range_vf`` and
                ``largest_kl`` where they are used.
        """
        for name, value in settings.items():
            self._settings[name].fill_(value)
        rollout = {name: self._flat(buffer, getattr(buffer, name)) for name in _ROLLOUT}
        for name in ("values", "log_probs", "advantages", "returns"):
            rollout[name] = rollout[name].flatten()
        new, structure = pytree.tree_flatten(rollout)
        own, own_structure = pytree.tree_flatten(self._rollout)
        if structure == own_structure and [one.shape for one in new] == [one.shape for one in own]:
            # Where the last one was: a graph on a GPU was recorded for these places.
            torch._foreach_copy_(own, new)
            self.tensors.refresh()
            return
        self._rollout = rollout
        self.tensors.refresh()
        self._bind()

    def epoch(self, rows: Tensor) -> tuple[list[Tensor], bool]:
        """Step the optimiser on one minibatch after the other, until the KL divergence is too large.

        Args:
            rows: Numbers of transitions in the rollout, environment by environment, in the order in which
                they are learned from, ``[M]``.

        Returns:
            The `METRICS` of each minibatch, ``[6]``, and whether the last one changed nothing because its
            divergence was too large.
        """
        adam = self.tensors.adam["policy"]
        counts = adam.steps
        metrics: list[Tensor] = []
        try:
            for minibatch in rows.split(self._rows):
                graph = self._graph if len(minibatch) == self._rows else self._remainder
                metrics.append(graph(minibatch))
                if self._stops and self._is_too_far(metrics[-1], self._settings):
                    return metrics, True
                # The graph reads one count; the others, one for each parameter, follow at the end.
                counts[0].add_(1)
                if adam.counted is not counts[0]:
                    adam.counted.add_(1)
        finally:
            torch._foreach_copy_(counts, [counts[0]] * len(counts))
        return metrics, False

    def _bind(self) -> None:
        state = (
            self.tensors.networks["policy"],
            self.tensors.adam["policy"].tensors(),
            self._rollout,
            self._settings,
        )
        read = [*pytree.tree_leaves(self._rollout), *self._settings.values()]
        self._graph.bind(state, unchanged=read, buffers=self.tensors.buffers)
        self._remainder.bind(state)

    def _flat(self, buffer: RolloutBuffer, values: Any) -> Any:
        """Return arrays ``[T, N, ...]`` of a rollout as tensors ``[N T, ...]`` on the policy's device."""
        device = self._agent.device
        return pytree.tree_map(
            lambda array: torch.from_numpy(buffer.swap_and_flatten(array)).to(device), values
        )

    def _step(self, state: Any, rows: Tensor) -> Tensor:
        parameters, adam, rollout, settings = state
        batch = pytree.tree_map(lambda tensor: tensor[rows], rollout)

        def loss_of(parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            return self._loss(parameters, batch, settings)

        with unvalidated_distributions():
            metrics: Tensor
            gradients, (_, metrics) = grad_and_value(loss_of, has_aux=True)(parameters)
        gradients = clipped_gradients(gradients, settings["max_grad_norm"])
        if not self._stops:
            self.tensors.adam["policy"].step(parameters, gradients, adam)
            return metrics
        # Stable-Baselines3 looks at the divergence between the loss and the step; a graph cannot be left.
        moments, squares, _, _ = adam
        changed = [*parameters.values(), *moments.values(), *squares.values()]
        before = [tensor.clone() for tensor in changed]
        self.tensors.adam["policy"].step(parameters, gradients, adam)
        too_far = self._is_too_far(metrics, settings)
        for tensor, old in zip(changed, before, strict=True):
            tensor.copy_(torch.where(too_far, old, tensor))
        return metrics

    def _loss(
        self, parameters: dict[str, Tensor], batch: dict[str, Any], settings: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return ``-L^CLIP+VF+S`` (eq. 9) and the `METRICS`."""
        actions = batch["actions"].float()
        if self._discrete:
            actions = actions.long().flatten()
        values, log_prob, entropy = call(self._evaluate, parameters, batch["observations"], actions)
        advantages, values = batch["advantages"], values.flatten()
        if self._normalises:
            advantages = losses.normalised_advantages(advantages)
        if self._clips_values:
            values = losses.clipped_values(values, batch["values"], settings["clip_range_vf"])
        log_ratio = log_prob - batch["log_probs"]
        ratio = log_ratio.exp()
        policy_loss = losses.clipped_surrogate(ratio, advantages, settings["clip_range"])
        value_loss = losses.value_loss(values, batch["returns"])
        entropy_loss = losses.entropy_loss(entropy, log_prob)
        loss = policy_loss + settings["ent_coef"] * entropy_loss + settings["vf_coef"] * value_loss
        fraction = losses.clip_fraction(ratio, settings["clip_range"])
        divergence = losses.approximate_kl(log_ratio)
        metrics = (policy_loss, value_loss, entropy_loss, fraction, divergence, loss)
        return loss, torch.stack([metric.detach() for metric in metrics])

    @staticmethod
    def _is_too_far(metrics: Tensor, settings: dict[str, Tensor]) -> Tensor:
        return metrics[METRICS.index("approx_kl")] > settings["largest_kl"]


def clipped_gradients(gradients: dict[str, Tensor], largest: Tensor) -> dict[str, Tensor]:
    """Scale gradients down to a norm, taken over all of them, as ``torch.nn.utils.clip_grad_norm_`` does.

    Args:
        gradients: The gradients by name.
        largest: The norm, ``[]``.
    """
    norm = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients.values()]).norm()
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    return {name: gradient * factor for name, gradient in gradients.items()}


@contextmanager
def unvalidated_distributions() -> Iterator[None]:
    """Keep torch's distributions from looking at numbers, which there are none of while a graph is traced."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
