"""Adapting to tasks never seen: episodes with the policy as it was learned, then the inner step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from hyperrl.errors import ShapeError, StateError
from hyperrl.nets import Generated
from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.meta.adaptation import Adaptation, Transition
from hyperrl.sb3.plain import head_of, normaliser_of
from hyperrl_agents.hyper_maml.batches import TaskBatch
from hyperrl_agents.hyper_maml.policies import plain_layers

if TYPE_CHECKING:
    from hyperrl_agents.hyper_maml.agent import HyperMAML

_Array = NDArray[Any]
_Row = tuple[_Array, _Array, _Array, _Array]
"""States ``[n, S]``, actions ``[n, A]``, rewards ``[n]`` and which tasks were playing ``[n]``."""


class MAMLAdaptation(Adaptation):
    """HyperMAML in n tasks: episodes to learn from are played by the policy before the inner step.

    After each, the inner steps are made anew on all of them.

    Args:
        agent: The agent, which stays as it is.
        contexts: The tasks, raw, ``[n, d]``.

    Raises:
        HyperRLError: A context is not in the space.
    """

    def __init__(self, agent: HyperMAML, contexts: NDArray[np.float64]) -> None:
        super().__init__(len(contexts))
        self._agent, self._actor = agent, agent.policy.actor
        self._conditions = agent.conditions(np.asarray(contexts, np.float64))
        self._normaliser: VecNormalize | None = agent.get_vec_normalize_env()
        # Noise of its own: that of learning goes on as if nobody had adapted.
        self._noise = torch.Generator().manual_seed(0 if agent.seed is None else agent.seed)
        self._learned = agent.adapted_weights(self._conditions, [])
        self._adapted, self._episodes = self._learned, list[list[_Row]]()
        self._steps: list[_Row] = []
        self._drawn: _Array | None = None

    def begin_episode(self) -> None:
        """Forget an episode that was not learned from."""
        self._steps = []

    @torch.no_grad()
    def act(self, observations: Any, *, explore: bool) -> NDArray[np.float32]:
        """Act by the policy as it was learned, with noise, or without noise as it is adapted now.

        Args:
            observations: See `Adaptation.act`.
            explore: See `Adaptation.act`.
        """
        states = torch.as_tensor(self._states(observations), device=self._agent.device)
        if len(states) != self.tasks:
            raise ShapeError(f"there are {self.tasks} tasks, but {len(states)} observations")
        tasks = self._learned if explore else self._adapted
        generated = Generated.from_flat(self._actor.network.spec, tasks.weights)
        mean = self._actor.mean(generated, tasks.conditions, states.unsqueeze(1)).squeeze(1)
        if explore:
            noise = torch.randn(mean.shape, generator=self._noise).to(mean.device)
            mean = mean + tasks.log_std.exp() * noise
        self._drawn = mean.cpu().numpy()
        space: Any = self._agent.action_space
        return np.clip(self._drawn, space.low, space.high)

    def observe(self, transition: Transition) -> None:
        """Keep a step, with the action as it was drawn.

        Args:
            transition: The step.
        """
        if self._drawn is None:
            raise StateError("a step was observed before the policy had acted: call act first")
        rewards = np.asarray(transition.rewards, np.float32)
        if self._normaliser is not None:
            rewards = self._normaliser.normalize_reward(rewards)
        playing = np.asarray(transition.playing, bool)
        self._steps.append((self._states(transition.observations), self._drawn, rewards * playing, playing))
        self._drawn = None

    def end_episode(self) -> None:
        """Make the inner steps on all episodes so far.

        Raises:
            StateError: A task has no step to learn from.
        """
        if not self._steps or not np.any([row[3] for row in self._steps], axis=0).all():
            raise StateError("there is nothing to adapt to: play an episode of every task before end_episode")
        self._episodes.append(self._steps)
        self._steps = []
        batch = self._batch()
        self._adapted = self._agent.adapted_weights(self._conditions, [batch] * self._agent.inner_steps)

    def snapshot(self) -> Any:
        """See `Adaptation.snapshot`."""
        episodes, steps = list(self._episodes), list(self._steps)
        return self._adapted, episodes, steps, self._drawn, self._noise.get_state()

    def restore(self, snapshot: Any) -> None:
        """See `Adaptation.restore`."""
        self._adapted, episodes, steps, self._drawn, noise = snapshot
        self._episodes, self._steps = list(episodes), list(steps)
        self._noise.set_state(noise)

    def specialise(self, task: int) -> PlainPolicy:
        """Return the adapted policy of one task as a plain policy of the observation without the context.

        Args:
            task: Its number, from 0.

        Raises:
            ShapeError: There is no such task.
            HyperRLError: Observations are no single vector beside the context.
        """
        if not 0 <= task < self.tasks:
            raise ShapeError(f"there are {self.tasks} tasks, numbered from 0, got {task}")
        agent = self._agent
        key = agent.vector_key()
        layers = tuple(plain_layers(self._actor, self._adapted, task))
        normaliser = normaliser_of(self._normaliser, key, layers[0].inputs)
        return PlainPolicy(layers, head_of(agent.action_space), normaliser)

    def _batch(self) -> TaskBatch:
        """Return all episodes as a batch, padded to the longest one."""
        longest = max(len(episode) for episode in self._episodes)
        columns = []
        for part in range(4):
            padded = []
            for episode in self._episodes:
                column = np.stack([row[part] for row in episode], axis=1)
                missing = [(0, 0), (0, longest - len(episode))] + [(0, 0)] * (column.ndim - 2)
                padded.append(np.pad(column, missing))
            columns.append(np.stack(padded, axis=1))
        return TaskBatch.of(*columns, **self._agent.batch_settings)

    def _states(self, observations: Any) -> NDArray[np.float32]:
        """Return states ``[n, S]``, normalised as the policy knows them."""
        if self._normaliser is not None:
            observations = self._normaliser.normalize_obs(observations)
        tensors, _ = self._agent.policy.obs_to_tensor(observations)
        features: Tensor = self._agent.policy.features(tensors)
        states: NDArray[np.float32] = features[:, : self._agent.policy.state_size].cpu().numpy()
        return states
