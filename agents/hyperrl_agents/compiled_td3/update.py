"""TD3's gradient step as two graphs: the critics' on every update, the actor's on every delayed one."""

from __future__ import annotations

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
from hyperrl_agents.compiled_td3 import losses

if TYPE_CHECKING:
    from hyperrl_agents.compiled_td3.agent import CompiledTD3


def networks_of(agent: CompiledTD3) -> dict[str, nn.Module]:
    """Return what an update works on, by name.

    Args:
        agent: The agent.
    """
    names = ("actor", "actor_target", "critic", "critic_target")
    return {name: getattr(agent, name) for name in names}


def optimised_of(agent: CompiledTD3) -> dict[str, Optimised]:
    """Return an agent's optimisers with their parameters, by name.

    Args:
        agent: The agent.
    """
    networks = {"actor": agent.actor, "critic": agent.critic}
    return {name: Optimised.network(network.optimizer, network) for name, network in networks.items()}


class TD3Update:
    """Both graphs, on the agent's own parameters and optimisers.

    Args:
        agent: The agent. Its ``tau`` and noise clip become part of the graphs.
        compiled: Whether to compile them; otherwise they run as they are written.
    """

    def __init__(self, agent: CompiledTD3, compiled: bool = True) -> None:
        self._actor, self._critic = agent.actor, agent.critic
        self._actor_target, self._critic_target = agent.actor_target, agent.critic_target
        self._q1 = MethodOf(agent.critic, "q1_forward")
        self._tau, self._noise_clip = agent.tau, agent.target_noise_clip
        name = type(agent).__name__
        self._critic_graph = CompiledFunction(
            self.step_critics, f"the critics' update of {name}", compiled=compiled, strict=True
        )
        self._actor_graph = CompiledFunction(
            self.step_actor, f"the actor's update of {name}", compiled=compiled, strict=True
        )
        self._tensors = TrainedTensors(networks_of(agent), optimised_of(agent), self._bind)

    def refresh(self) -> None:
        """Take over learning rates, and tensors that were replaced, before a number of updates."""
        self._tensors.refresh()

    def critics(self, batch: dict[str, Any]) -> Tensor:
        """Step the critics' optimiser.

        Args:
            batch: ``observations``, ``next_observations``, ``actions [B, A]``, ``rewards [B, 1]``,
                ``dones [B, 1]``, ``discounts`` (``[B, 1]`` or ``[]``), and ``noise [B, A]`` for the target's
                actions.

        Returns:
            The loss.
        """
        loss: Tensor = self._critic_graph(batch)
        self._tensors.adam["critic"].count()
        return loss

    def actor(self, observations: Any) -> Tensor:
        """Step the actor's optimiser and move all target networks.

        Args:
            observations: A batch of them.

        Returns:
            The loss.
        """
        loss: Tensor = self._actor_graph(observations)
        self._tensors.adam["actor"].count()
        return loss

    def _bind(self) -> None:
        networks, adam, buffers = self._tensors.networks, self._tensors.adam, self._tensors.buffers
        self._critic_graph.bind((networks, adam["critic"].tensors()), buffers=buffers)
        self._actor_graph.bind((networks, adam["actor"].tensors()), buffers=buffers)

    def step_critics(self, state: Any, batch: dict[str, Any]) -> Tensor:
        """What the critics' graph computes.

        Args:
            state: The networks' parameters by network and name, and the critics' `AdamState.tensors`, all of
                which change in place.
            batch: As for `critics`.

        Returns:
            The loss.
        """
        networks, adam = state
        target_actions = call(self._actor_target, networks["actor_target"], batch["next_observations"])
        next_actions = losses.smoothed_actions(target_actions, batch["noise"], self._noise_clip)
        next_values = call(
            self._critic_target, networks["critic_target"], batch["next_observations"], next_actions
        )
        target = losses.td_target(batch["rewards"], batch["dones"], batch["discounts"], next_values)

        def loss_of(parameters: dict[str, Tensor]) -> Tensor:
            values = call(self._critic, parameters, batch["observations"], batch["actions"])
            return losses.critic_loss(values, target)

        loss: Tensor
        gradients, loss = grad_and_value(loss_of)(networks["critic"])
        self._tensors.adam["critic"].step(networks["critic"], gradients, adam)
        return loss

    def step_actor(self, state: Any, observations: Any) -> Tensor:
        """What the actor's graph computes; see `step_critics`, the second half of the state is the actor's.

        Args:
            state: Parameters and `AdamState.tensors`, which change in place.
            observations: A batch of them.

        Returns:
            The loss.
        """
        networks, adam = state

        def loss_of(parameters: dict[str, Tensor]) -> Tensor:
            actions = call(self._actor, parameters, observations)
            return losses.actor_loss(call(self._q1, networks["critic"], observations, actions))

        loss: Tensor
        gradients, loss = grad_and_value(loss_of)(networks["actor"])
        self._tensors.adam["actor"].step(networks["actor"], gradients, adam)
        for name in ("critic", "actor"):
            polyak_step(networks[name], networks[f"{name}_target"], self._tau)
        return loss
