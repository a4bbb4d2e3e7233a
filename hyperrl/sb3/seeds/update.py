"""One gradient step of several seeds as one graph: transitions, losses, optimisers, targets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import vmap

from hyperrl.compiled import Buffers, CompiledFunction, StackedTensors
from hyperrl.sb3.device_buffer import DeviceReplayBuffer, gather
from hyperrl.sb3.seeds.streams import UpdateStreams


class StackedLearner(Protocol):
    """An algorithm's part: what its gradient step computes for several agents at once."""

    @property
    def name(self) -> str:
        """What it is called in warnings."""
        ...

    @property
    def draws(self) -> bool:
        """Whether `act` draws actions by its noise."""
        ...

    @property
    def tensors(self) -> StackedTensors:
        """The agents' networks and optimisers."""
        ...

    @property
    def buffers(self) -> Buffers:
        """The buffers of the networks, which are the same for all agents."""
        ...

    @property
    def noise(self) -> Mapping[str, float]:
        """Standard deviations of the normal numbers ``[B, A]`` that a step takes, by name."""
        ...

    def variant(self, number: int, step: int) -> str:
        """Say which kind of step an update is, since some only concern the critics.

        Args:
            number: Number of the update, from 1.
            step: Its number within this call of `train`, from 0.
        """
        ...

    def state(self) -> Any:
        """Return all tensors that `step` changes, in the structure that it takes."""
        ...

    def step(self, variant: str, state: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Change the state in place.

        Args:
            variant: What `variant` returned.
            state: What `state` returned, or what stands for it while a graph is traced.
            batch: Transitions and noise, each ``[S, B, ...]``.

        Returns:
            Losses ``[S]`` by name.
        """
        ...

    def losses(self, variant: str) -> tuple[str, ...]:
        """Return the names of what `step` returns."""
        ...

    def count(self, variant: str) -> None:
        """Count the optimisers' steps of one update."""
        ...

    def act(self, networks: Any, observations: Tensor, noise: Tensor) -> Tensor:
        """Return the actions of one agent.

        Args:
            networks: The parameters of "actor" by name.
            observations: ``[N, S]``.
            noise: Standard normal, or zero for its best actions, ``[N, A]``.

        Returns:
            ``[N, A]`` in [-1, 1].
        """
        ...


class StackedUpdate:
    """The graphs of one stack of agents.

    Args:
        learner: The algorithm's part.
        buffer: The transitions of all agents; the environments of each lie side by side.
        streams: The agents' random numbers.
        gamma: The discount.
        compiled: Whether to compile; otherwise the same functions run as they are written.

    Attributes:
        compiled: As given.
        buffer: As given.
    """

    def __init__(
        self,
        learner: StackedLearner,
        buffer: DeviceReplayBuffer,
        streams: UpdateStreams,
        gamma: float,
        compiled: bool,
    ) -> None:
        self._learner, self.buffer, self._streams, self._gamma = learner, buffer, streams, gamma
        self.compiled = compiled
        self._size = torch.zeros((), dtype=torch.int64, device=buffer.rows.device)
        self._columns = buffer._slices()
        self._graphs: dict[str, CompiledFunction] = {}
        self._act = CompiledFunction(self._act_all, f"the actors of {learner.name}", compiled=compiled)
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._counts: dict[str, int] = {}

    @property
    def fallbacks(self) -> list[str]:
        """Why graphs could not be compiled; empty where all could."""
        return [graph.fallback for graph in (self._act, *self._graphs.values()) if graph.fallback]

    def refresh(self) -> None:
        """Take over what was replaced among the agents' tensors, and how full the buffer is."""
        self._learner.tensors.refresh()
        self.buffer.synchronise()
        self._size.fill_(self.buffer.size())

    def rebind(self) -> None:
        """Let the graphs work on other tensors; the agents' tensors call this when they were replaced."""
        for variant, graph in self._graphs.items():
            self._bind(variant, graph)
        actors = self._actors()
        self._act.bind(actors, unchanged=actors["actor"].values(), buffers=self._learner.buffers)

    def step(self, number: int, step: int) -> None:
        """Make one update; nothing waits for it on a GPU.

        Args:
            number: Number of the update, from 1.
            step: Its number within this call of `train`, from 0.
        """
        variant = self._learner.variant(number, step)
        if variant not in self._graphs:
            self._make(variant)
        self._streams.next()
        self._graphs[variant](())
        self._learner.count(variant)
        self._counts[variant] += 1

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Return actions ``[S, N, A]`` in [-1, 1].

        Args:
            observations: ``[S, N, O]``.
            noise: Standard normal, or zero, ``[S, N, A]``.
        """
        actions: Tensor = self._act((observations, noise))
        return actions

    def act_plainly(self, observations: Tensor, noise: Tensor) -> Tensor:
        """As `act`, for numbers of observations for which no graph is worth making.

        Args:
            observations: ``[S, N, O]``.
            noise: Standard normal, or zero, ``[S, N, A]``.
        """
        with torch.no_grad():
            return self._act_all(self._actors(), (observations, noise))

    def losses(self, begin_anew: bool = True) -> dict[str, Tensor]:
        """Return the mean of each loss ``[S]`` over the updates since it last began anew.

        Args:
            begin_anew: Whether to forget them.
        """
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for variant, values in self._sums.items():
            for name, value in values.items():
                sums[name] = sums[name] + value if name in sums else value.clone()
                counts[name] = counts.get(name, 0) + self._counts[variant]
                if begin_anew:
                    value.zero_()
            if begin_anew:
                self._counts[variant] = 0
        return {name: value / counts[name] for name, value in sums.items() if counts[name]}

    def _actors(self) -> dict[str, Any]:
        return {"actor": self._learner.tensors.networks["actor"]}

    def _make(self, variant: str) -> None:
        name = f"the update of {self._learner.name}"
        graph = CompiledFunction(partial(self._step, variant), name, compiled=self.compiled)
        device, seeds = self.buffer.rows.device, self._streams.seeds
        self._sums[variant] = {
            name: torch.zeros(seeds, device=device) for name in self._learner.losses(variant)
        }
        self._counts[variant] = 0
        self._graphs[variant] = graph
        self._bind(variant, graph)

    def _bind(self, variant: str, graph: CompiledFunction) -> None:
        drawn = self._streams.tensors()
        state = {
            "learner": self._learner.state(),
            "sums": self._sums[variant],
            "rows": self.buffer.rows,
            "size": self._size,
            **drawn,
        }
        read = [self.buffer.rows, drawn["places"], *drawn["noise"].values()]
        graph.bind(state, unchanged=read, buffers=self._learner.buffers)

    def _step(self, variant: str, state: Any, _: Any) -> tuple[()]:
        batch = self._batch(state)
        for name, value in self._learner.step(variant, state["learner"], batch).items():
            state["sums"][name].add_(value)
        state["counter"].add_(1)
        return ()

    def _batch(self, state: Any) -> dict[str, Tensor]:
        """Draw each agent's transitions from those of its own environments."""
        # Recording a graph makes a few steps that do not count, also where the numbers are nearly used up.
        turn = (state["counter"] % state["places"].shape[0]).reshape(1)
        rows, places = state["rows"], state["places"].index_select(0, turn).squeeze(0)
        seeds, all_envs = places.shape[0], rows.shape[1]
        envs = all_envs // seeds
        index = (places * (state["size"] * envs)).long()
        own = torch.arange(seeds, device=rows.device)[:, None] * envs
        flat = (index // envs) * all_envs + own + index % envs
        noise = {name: value.index_select(0, turn).squeeze(0) for name, value in state["noise"].items()}
        discounts = torch.full_like(places, self._gamma, dtype=rows.dtype)[..., None]
        return {**gather(rows, flat, self._columns), **noise, "discounts": discounts}

    def _act_all(self, networks: Any, inputs: tuple[Tensor, Tensor]) -> Tensor:
        actions: Tensor = vmap(self._learner.act)(networks, *inputs)
        return actions
