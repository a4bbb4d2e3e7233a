"""Adaptation by memory alone: nothing is trained, the hidden state goes on from episode to episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.meta.adaptation import Adaptation, Transition
from hyperrl.sb3.meta.trials import ACTION, EPISODE, REWARD, START, with_own

if TYPE_CHECKING:
    from hyperrl_agents.recurrent_hyper.agent import RecurrentHyper


class _Memory(NamedTuple):
    """What is remembered of n tasks; its parts are never written into."""

    hidden: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    begins: NDArray[np.float32]
    starts: NDArray[np.float32]


class RecurrentAdaptation(Adaptation):
    """n tasks that one agent remembers, each from its own first step on.

    It acts without noise in all episodes, as published: what is to be tried is part of what was learned.

    Args:
        agent: The agent, which stays as it is.
        tasks: How many tasks n.
    """

    def __init__(self, agent: RecurrentHyper, tasks: int) -> None:
        super().__init__(tasks)
        self._agent = agent
        nothing, ones = np.zeros((tasks, 1), np.float32), np.ones((tasks, 1), np.float32)
        actions = np.zeros((tasks, spaces.flatdim(agent.action_space)), np.float32)
        hidden = np.zeros((tasks, agent.policy.encoder.hidden_size), np.float32)
        self._memory = _Memory(hidden, actions, nothing, ones, ones)
        self._next = hidden

    def begin_episode(self) -> None:
        """Learn that a new episode begins in all tasks."""
        self._memory = self._memory._replace(begins=np.ones((self.tasks, 1), np.float32))

    def act(self, observations: Any, *, explore: bool) -> NDArray[np.float32]:
        """Return actions, see `Adaptation.act`.

        Args:
            observations: As in `Transition`.
            explore: Makes no difference.
        """
        memory = self._memory
        added = {
            ACTION: memory.actions,
            REWARD: memory.rewards,
            EPISODE: memory.begins,
            START: memory.starts,
        }
        whole = self._agent.normalised(with_own(added, observations))
        actions, state = self._agent.policy.predict(whole, (memory.hidden,), deterministic=True)
        assert state is not None
        self._next = state[0]
        return np.asarray(actions, np.float32).reshape(self.tasks, -1)

    def observe(self, transition: Transition) -> None:
        """Remember a step; where a task's episode is over, nothing changes."""
        playing = transition.playing[:, None]
        old, nothing = self._memory, np.zeros((self.tasks, 1), np.float32)
        actions = np.asarray(transition.actions, np.float32).reshape(self.tasks, -1)
        rewards = np.asarray(transition.rewards, np.float32)[:, None]
        new = _Memory(self._next, actions, rewards, nothing, nothing)
        self._memory = _Memory(*(np.where(playing, one, other) for one, other in zip(new, old, strict=True)))

    def end_episode(self) -> None:
        """Do nothing: what was seen is remembered already."""

    def snapshot(self) -> Any:
        """Return what is remembered."""
        return self._memory

    def restore(self, snapshot: Any) -> None:
        """Go back to what `snapshot` returned."""
        self._memory = snapshot

    def specialise(self, task: int) -> PlainPolicy:
        """Return the policy that the memory of one task stands for now, which remembers nothing more.

        Args:
            task: Its number, from 0.

        Raises:
            ExportError: It is more than a plain policy.
        """
        with torch.no_grad():
            hidden = torch.from_numpy(self._memory.hidden[task]).to(self._agent.device)
            latent = self._agent.policy.latent(hidden)
        return self._agent.specialise(latent.cpu().numpy())
