"""TD3's gradient step for several agents at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.func import vmap

from hyperrl.compiled import Buffers, StackedTensors, call
from hyperrl_agents.compiled_td3.update import TD3Update, networks_of, optimised_of

if TYPE_CHECKING:
    from hyperrl_agents.compiled_td3.agent import CompiledTD3

# Parameters, moments and counts of steps have a leading dimension for the agents; learning rates have not.
_STATE = (0, (0, 0, 0, None))


class StackedTD3:
    """`hyperrl.sb3.seeds.update.StackedLearner` of TD3.

    Args:
        agents: Agents that are built alike, but for their seeds.
        changed: Called when an agent's tensors were replaced.
    """

    draws = False

    def __init__(self, agents: Sequence[CompiledTD3], changed: Callable[[], None]) -> None:
        first = agents[0]
        self.name = f"{len(agents)} {type(first).__name__}"
        self.noise = {"noise": first.target_policy_noise}
        self._policy_delay = first.policy_delay
        self._actor = first.actor
        self._one = TD3Update(first, compiled=False)
        self._one.refresh()
        self.buffers = Buffers(networks_of(first).values())
        self.tensors = StackedTensors(
            [networks_of(agent) for agent in agents], [optimised_of(agent) for agent in agents], changed
        )
        self.tensors.refresh()
        # So that nothing keeps the tensors from before they were stacked.
        self._one.refresh()

    def variant(self, number: int, step: int) -> str:
        """Return "all" for every ``policy_delay``-th update, else "critics"."""
        return "all" if number % self._policy_delay == 0 else "critics"

    def losses(self, variant: str) -> tuple[str, ...]:
        """Return the names of what `step` returns."""
        return ("critic_loss", "actor_loss") if variant == "all" else ("critic_loss",)

    def state(self) -> Any:
        """Return networks and the optimisers' tensors, by name."""
        return self.tensors.networks, {name: adam.tensors() for name, adam in self.tensors.adam.items()}

    def step(self, variant: str, state: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Make one update of all agents; see `StackedLearner.step`."""
        networks, adam = state
        critics = vmap(self._one.step_critics, in_dims=(_STATE, 0))
        values = {"critic_loss": critics((networks, adam["critic"]), batch)}
        if variant == "all":
            actor = vmap(self._one.step_actor, in_dims=(_STATE, 0))
            values["actor_loss"] = actor((networks, adam["actor"]), batch["observations"])
        return values

    def count(self, variant: str) -> None:
        """Count the optimisers' steps of one update."""
        self.tensors.adam["critic"].count()
        if variant == "all":
            self.tensors.adam["actor"].count()

    def act(self, networks: Any, observations: Tensor, noise: Tensor) -> Tensor:
        """Return one agent's actions, which take no noise of their own; see `StackedLearner.act`."""
        actions: Tensor = call(self._actor, networks["actor"], observations)
        return actions
