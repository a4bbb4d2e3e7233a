"""How a stack of seeds acts: all of them at once, each with random numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperrl.errors import NonFiniteError, ShapeError
from hyperrl.sb3.seeds.streams import ActingStreams

_Act = Callable[[Tensor, Tensor], Tensor]
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Awaited:
    """Actions that a GPU may still be computing."""

    actions: Tensor
    done: torch.cuda.Event | None

    def receive(self) -> _Floats:
        if self.done is not None:
            self.done.synchronize()
        return self.actions.numpy()


class StackedActing:
    """Actions of all seeds, in [-1, 1].

    Args:
        seeds: The seeds.
        observation_size: O.
        action_size: A.
        draws: Whether the policies draw their actions themselves.
        sigma: Standard deviation ``[A]`` of the normal noise that is added for exploration, None for none.
        device: Where the networks run.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        observation_size: int,
        action_size: int,
        draws: bool,
        sigma: NDArray[Any] | None,
        device: torch.device,
    ) -> None:
        self._seeds, self._observation_size, self._size = len(seeds), observation_size, action_size
        self._draws, self._device = draws, device
        self._sigma = None if sigma is None else sigma.astype(np.float32)
        self._streams = ActingStreams(seeds)
        self._awaited: _Awaited | None = None

    def random(self, rows: int) -> _Floats:
        """Return actions drawn uniformly.

        Args:
            rows: Observations of each seed, N.

        Returns:
            ``[S N, A]``.
        """
        return self._noisy(self._streams.uniform(rows, self._size))

    def ask(self, act: _Act, observations: NDArray[Any]) -> None:
        """Let actions be computed, for the next call of `explore`.

        Args:
            act: Gives actions ``[S, N, A]`` for observations ``[S, N, O]`` and noise ``[S, N, A]``.
            observations: ``[S N, O]``.
        """
        grouped = self._grouped(observations)
        noise = np.zeros((*grouped.shape[:2], self._size), np.float32)
        if self._draws:
            noise = self._streams.normal(grouped.shape[1], self._size)
        actions = act(self._sent(grouped), self._sent(noise))
        if self._device.type != "cuda":
            self._awaited = _Awaited(actions, None)
            return
        received = torch.empty(actions.shape, pin_memory=True)
        received.copy_(actions, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        self._awaited = _Awaited(received, done)

    def forget(self) -> None:
        """Let go of what was asked for."""
        self._awaited = None

    def explore(self, act: _Act, observations: NDArray[Any]) -> _Floats:
        """Return actions to learn from, those that were asked for if there are any.

        Args:
            act: As for `ask`.
            observations: ``[S N, O]``.

        Returns:
            ``[S N, A]``.
        """
        if self._awaited is None:
            self.ask(act, observations)
        assert self._awaited is not None
        actions, self._awaited = self._awaited.receive(), None
        return self._noisy(actions)

    def act(self, act: _Act, observations: NDArray[Any], deterministic: bool) -> _Floats:
        """Return actions without noise for exploration, outside of learning.

        Args:
            act: As for `ask`.
            observations: ``[S N, O]``.
            deterministic: Whether to give the best actions rather than to draw them. What is drawn changes
                what learning draws next.

        Returns:
            ``[S N, A]``.

        Raises:
            ShapeError: The observations cannot be shared out among the seeds.
            NonFiniteError: An observation or an action is not finite.
        """
        if observations.dtype.kind not in "biuf":
            raise ShapeError(f"the observations must be numbers, got an array of {observations.dtype}")
        if not np.isfinite(observations).all():
            raise NonFiniteError("an observation is not finite")
        grouped = self._grouped(observations)
        noise = np.zeros((*grouped.shape[:2], self._size), np.float32)
        if self._draws and not deterministic:
            noise = self._streams.normal(grouped.shape[1], self._size)
        actions: _Floats = act(self._sent(grouped), self._sent(noise)).cpu().numpy()
        if not np.isfinite(actions).all():
            raise NonFiniteError("an action is not finite: a weight of the policy is NaN or infinite")
        return actions.reshape(-1, self._size)

    def state(self) -> dict[str, Any]:
        """Return random numbers and what is awaited, as plain data."""
        awaited = None if self._awaited is None else self._awaited.receive().copy()
        return {"streams": self._streams.state(), "awaited": awaited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state: What `state` returned.
        """
        self._streams.restore(state["streams"])
        awaited = state["awaited"]
        self._awaited = None if awaited is None else _Awaited(torch.from_numpy(np.array(awaited)), None)

    def _noisy(self, actions: _Floats) -> _Floats:
        if self._sigma is not None:
            noise = self._streams.normal(actions.shape[1], self._size)
            actions = np.clip(actions + self._sigma * noise, -1, 1)
        return actions.reshape(-1, self._size)

    def _grouped(self, observations: NDArray[Any]) -> NDArray[Any]:
        wanted = self._observation_size
        if observations.shape[1:] != (wanted,) or observations.shape[0] % self._seeds:
            raise ShapeError(
                f"the observations of {self._seeds} seeds must be of shape [{self._seeds} N, {wanted}], "
                f"got {observations.shape}"
            )
        return observations.reshape(self._seeds, -1, observations.shape[1])

    def _sent(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array.astype(np.float32, copy=False)).to(self._device, non_blocking=True)
