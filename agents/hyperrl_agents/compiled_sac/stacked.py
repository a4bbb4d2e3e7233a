"""SAC's gradient step for several agents at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.func import vmap

from hyperrl.compiled import Buffers, StackedTensors
from hyperrl_agents.compiled_sac.update import SACUpdate, networks_of, optimised_of

if TYPE_CHECKING:
    from hyperrl_agents.compiled_sac.agent import CompiledSAC


class StackedSAC:
    """`hyperrl.sb3.seeds.update.StackedLearner` of SAC.

    Args:
        agents: Agents that are built alike, but for their seeds.
        changed: Called when an agent's tensors were replaced.
    """

    draws = True

    def __init__(self, agents: Sequence[CompiledSAC], changed: Callable[[], None]) -> None:
        first = agents[0]
        self.name = f"{len(agents)} {type(first).__name__}"
        self.noise = {"noise": 1.0, "next_noise": 1.0}
        self._interval = first.target_update_interval
        self._one = SACUpdate(first, compiled=False)
        self._one.refresh()
        self.buffers = Buffers(networks_of(first).values())
        self._fixed = None if "ent_coef" in optimised_of(first) else first.ent_coef_tensor
        self.tensors = StackedTensors(
            [networks_of(agent) for agent in agents], [optimised_of(agent) for agent in agents], changed
        )
        self.tensors.refresh()
        # So that nothing keeps the tensors from before they were stacked.
        self._one.refresh()

    def variant(self, number: int, step: int) -> str:
        """Return "moving" where the target networks move, else "resting"."""
        return "moving" if step % self._interval == 0 else "resting"

    def losses(self, variant: str) -> tuple[str, ...]:
        """Return the names of what `step` returns."""
        names = ("critic_loss", "actor_loss", "ent_coef")
        return names if self._fixed is not None else (*names, "ent_coef_loss")

    def state(self) -> Any:
        """Return networks, the optimisers' tensors by name, and the temperature."""
        adam = {name: state.tensors() for name, state in self.tensors.adam.items()}
        networks = {name: self.tensors.networks[name] for name in ("actor", "critic", "critic_target")}
        return networks, adam, self._temperature()

    def step(self, variant: str, state: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Make one update of all agents; see `StackedLearner.step`."""
        adam = dict.fromkeys(state[1], (0, 0, 0, None))
        dims = (0, adam, 0 if self._fixed is None else None)
        update = vmap(partial(self._one.step_all, variant == "moving"), in_dims=(dims, 0))
        values: dict[str, Tensor] = update(state, batch)
        return {name: value.reshape(-1) for name, value in values.items()}

    def count(self, variant: str) -> None:
        """Count the optimisers' steps of one update."""
        for adam in self.tensors.adam.values():
            adam.count()

    def act(self, networks: Any, observations: Tensor, noise: Tensor) -> Tensor:
        """Return one agent's actions; see `StackedLearner.act`."""
        return self._one.act(networks["actor"], observations, noise)[0]

    def _temperature(self) -> Tensor:
        return self.tensors.networks["ent_coef"]["log"] if self._fixed is None else self._fixed
