"""SAC's gradient step as one graph."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.func import grad_and_value

from hyperrl.compiled import (
    CompiledFunction,
    MethodOf,
    Optimised,
    TrainedTensors,
    call,
    polyak_step,
)
from hyperrl_agents.compiled_sac import losses

if TYPE_CHECKING:
    from hyperrl_agents.compiled_sac.agent import CompiledSAC


def networks_of(agent: CompiledSAC) -> dict[str, nn.Module]:
    """Return what an update works on, by name.

    Args:
        agent: The agent.
    """
    return {name: getattr(agent, name) for name in ("actor", "critic", "critic_target")}


def optimised_of(agent: CompiledSAC) -> dict[str, Optimised]:
    """Return an agent's optimisers with their parameters, by name; "ent_coef" if the temperature is learned.

    Args:
        agent: The agent.
    """
    networks = {"actor": agent.actor, "critic": agent.critic}
    optimised = {name: Optimised.network(network.optimizer, network) for name, network in networks.items()}
    if agent.ent_coef_optimizer is not None and agent.log_ent_coef is not None:
        optimised["ent_coef"] = Optimised(agent.ent_coef_optimizer, {"log": agent.log_ent_coef})
    return optimised


class SACUpdate:
    """The whole step on the agent's own parameters and optimisers: critics, actor, temperature, targets.

    Args:
        agent: The agent. Its ``tau`` and target entropy become part of the graph.
        compiled: Whether to compile it; otherwise it runs as it is written.
    """

    def __init__(self, agent: CompiledSAC, compiled: bool = True) -> None:
        self._actor = MethodOf(agent.actor, "get_action_dist_params")
        self._critic, self._critic_target = agent.critic, agent.critic_target
        self._tau, self._target_entropy = agent.tau, float(agent.target_entropy)
        name = f"the update of {type(agent).__name__}"
        # Where targets move on some updates only, there are two graphs; each is compiled when first needed.
        self._graphs = {
            moves: CompiledFunction(partial(self.step_all, moves), name, compiled=compiled, strict=True)
            for moves in (True, False)
        }
        self._log_ent_coef = agent.log_ent_coef
        self._fixed = None if "ent_coef" in optimised_of(agent) else agent.ent_coef_tensor
        self._tensors = TrainedTensors(networks_of(agent), optimised_of(agent), self._bind)

    def refresh(self) -> None:
        """Take over learning rates, and tensors that were replaced, before a number of updates."""
        self._tensors.refresh()

    def step(self, batch: dict[str, Any], move_targets: bool) -> dict[str, Tensor]:
        """Step all optimisers.

        Args:
            batch: ``observations``, ``next_observations``, ``actions [B, A]``, ``rewards [B, 1]``,
                ``dones [B, 1]``, ``discounts`` (``[B, 1]`` or ``[]``), and standard normal ``noise`` and
                ``next_noise`` ``[B, A]`` for the actions drawn in both observations.
            move_targets: Whether the target networks move.

        Returns:
            ``critic_loss``, ``actor_loss``, ``ent_coef`` and, if it is learned, ``ent_coef_loss``.
        """
        values: dict[str, Tensor] = self._graphs[move_targets](batch)
        for adam in self._tensors.adam.values():
            adam.count()
        return values

    def _bind(self) -> None:
        adam = {name: state.tensors() for name, state in self._tensors.adam.items()}
        temperature = self._fixed if self._log_ent_coef is None else self._log_ent_coef.detach()
        for graph in self._graphs.values():
            graph.bind((self._tensors.networks, adam, temperature), buffers=self._tensors.buffers)

    def step_all(self, move_targets: bool, state: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What a graph computes.

        Args:
            move_targets: Whether the target networks move.
            state: The networks' parameters by network and name, each optimiser's `AdamState.tensors` by name,
                and the logarithm of the temperature, or the temperature if it is fixed; they change in place.
            batch: As for `step`.

        Returns:
            As `step`.
        """
        networks, adam, temperature = state
        ent_coef = temperature.clone() if self._fixed is not None else temperature.exp()
        critic_loss = self._critic_step(networks, adam["critic"], batch, ent_coef)
        actor_loss, log_prob = self._actor_step(networks, adam["actor"], batch, ent_coef)
        values = {"critic_loss": critic_loss, "actor_loss": actor_loss, "ent_coef": ent_coef}
        if self._fixed is None:
            values["ent_coef_loss"] = self._temperature_step(temperature, adam["ent_coef"], log_prob)
        if move_targets:
            polyak_step(networks["critic"], networks["critic_target"], self._tau)
        return values

    def _critic_step(self, networks: Any, adam: Any, batch: dict[str, Any], ent_coef: Tensor) -> Tensor:
        next_actions, next_log_prob = self.act(
            networks["actor"], batch["next_observations"], batch["next_noise"]
        )
        next_values = call(
            self._critic_target, networks["critic_target"], batch["next_observations"], next_actions
        )
        target = losses.td_target(
            batch["rewards"], batch["dones"], batch["discounts"], next_values, next_log_prob, ent_coef
        )

        def loss_of(parameters: dict[str, Tensor]) -> Tensor:
            values = call(self._critic, parameters, batch["observations"], batch["actions"])
            return losses.critic_loss(values, target)

        loss: Tensor
        gradients, loss = grad_and_value(loss_of)(networks["critic"])
        self._tensors.adam["critic"].step(networks["critic"], gradients, adam)
        return loss

    def _actor_step(
        self, networks: Any, adam: Any, batch: dict[str, Any], ent_coef: Tensor
    ) -> tuple[Tensor, Tensor]:
        def loss_of(parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            actions, log_prob = self.act(parameters, batch["observations"], batch["noise"])
            values = call(self._critic, networks["critic"], batch["observations"], actions)
            return losses.actor_loss(values, log_prob, ent_coef), log_prob

        gradients, (loss, log_prob) = grad_and_value(loss_of, has_aux=True)(networks["actor"])
        self._tensors.adam["actor"].step(networks["actor"], gradients, adam)
        return loss, log_prob

    def _temperature_step(self, log_ent_coef: Tensor, adam: Any, log_prob: Tensor) -> Tensor:
        loss: Tensor
        gradient, loss = grad_and_value(losses.temperature_loss)(log_ent_coef, log_prob, self._target_entropy)
        self._tensors.adam["ent_coef"].step({"log": log_ent_coef}, {"log": gradient}, adam)
        return loss

    def act(self, parameters: Any, observations: Any, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draw actions.

        Args:
            parameters: The actor's.
            observations: A batch of them.
            noise: Standard normal, ``[B, A]``.

        Returns:
            Actions ``[B, A]`` in [-1, 1] and their log-probabilities ``[B, 1]``.
        """
        mean, log_std, _ = call(self._actor, parameters, observations)
        return losses.squashed_gaussian(mean, log_std, noise)
