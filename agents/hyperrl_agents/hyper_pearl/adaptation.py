"""Adapting to new tasks: latents of the prior until there is data, of the posterior from then on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperrl.errors import ConfigError, ShapeError
from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.meta.adaptation import Adaptation, Transition
from hyperrl.sb3.plain import head_of
from hyperrl_agents.hyper_pearl.losses import precisions
from hyperrl_agents.hyper_pearl.networks import ActIn
from hyperrl_agents.hyper_pearl.policies import HyperPEARLPolicy

_Factors = tuple[Tensor, Tensor, Tensor]


def plain_policy_of(policy: HyperPEARLPolicy, latent: Tensor) -> PlainPolicy:
    """Return the policy of one task as dense layers with a tanh.

    Args:
        policy: The policies.
        latent: What stands for the task, ``[C]``.

    Raises:
        NonFiniteError: A weight is NaN or infinite.
    """
    with torch.no_grad():
        layers = [(weight.cpu().numpy(), bias.cpu().numpy()) for weight, bias in policy.actor.layers(latent)]
    return PlainPolicy.from_arrays(
        [weight for weight, _ in layers],
        [bias for _, bias in layers],
        activation="relu",
        head=head_of(policy.action_space, squashed=True),
    )


class PosteriorAdaptation(Adaptation):
    """Infers n tasks from all episodes that were played to learn.

    An episode that is played to learn keeps one latent: of the prior in the first `exploration_episodes`, of
    the posterior after them. Others are played by the mean of the posterior, before there is data of the
    prior. Actions are never noisy: it is the latent that explores, as in the publication's evaluation.

    Args:
        policy: The networks, which stay as they are.
        tasks: How many tasks n.
        exploration_episodes: Episodes that are played by latents of the prior.
    """

    def __init__(self, policy: HyperPEARLPolicy, tasks: int, exploration_episodes: int) -> None:
        super().__init__(tasks)
        assert policy.encoder is not None
        self._policy, self._encoder = policy, policy.encoder
        self._exploration_episodes = exploration_episodes
        shape = (tasks, policy.shape.latent)
        self._mean = torch.zeros(shape, device=policy.device)
        self._variance = torch.ones(shape, device=policy.device)
        # Of a product of Gaussians two sums are enough: no step of an earlier episode is kept.
        self._sums = (torch.zeros_like(self._mean), torch.zeros_like(self._mean))
        self._pending: list[_Factors] = []
        self._episodes = 0
        self._explored: Tensor = self._mean
        self._kept: tuple[Tensor, ActIn] | None = None
        self.begin_episode()

    @property
    def posterior(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and variance of each task's latent ``[n, C]``; the prior's before there is data."""
        return self._mean.cpu().numpy().copy(), self._variance.cpu().numpy().copy()

    def begin_episode(self) -> None:
        """Draw the latents of the next episode, by torch's generator, in case it is played to learn."""
        drawn = torch.randn(self._mean.shape).to(self._mean.device)
        informed = self._episodes >= self._exploration_episodes
        self._explored = self._mean + self._variance.sqrt() * drawn if informed else drawn

    def act(self, observations: Any, *, explore: bool) -> NDArray[np.float32]:
        """Return actions ``[n, A]``, see `Adaptation.act`."""
        latents = self._explored if explore else self._mean
        if self._kept is None or self._kept[0] is not latents:
            self._kept = (latents, self._policy.actor.act_in(latents))
        states = self._states(observations)
        with torch.no_grad():
            mean, _ = self._kept[1](torch.arange(self.tasks, device=states.device), states)
        return np.asarray(self._policy.unscale_action(mean.tanh().cpu().numpy()), np.float32)

    def observe(self, transition: Transition) -> None:
        """Note a step, see `Adaptation.observe`."""
        states = self._states(transition.observations)
        parts = [
            states,
            self._tensor(self._policy.scale_action(np.asarray(transition.actions))).clamp(-1, 1),
            self._tensor(transition.rewards).unsqueeze(-1),
        ]
        if self._policy.next_states:
            parts.append(self._states(transition.next_observations))
        playing = torch.as_tensor(np.asarray(transition.playing, bool), device=states.device)
        with torch.no_grad():
            mean, variance = self._encoder.factors(torch.cat(parts, dim=-1))
        # Steps of tasks that are over say nothing.
        self._pending.append((mean, variance, playing))

    def end_episode(self) -> None:
        """Infer the tasks from everything so far.

        Raises:
            ConfigError: No step was observed since the last episode.
        """
        if not self._pending:
            raise ConfigError(
                "there is nothing to adapt to: call observe after each step of an episode, then end_episode"
            )
        means, variances, playing = (torch.stack(parts) for parts in zip(*self._pending, strict=True))
        added = precisions(variances) * playing.unsqueeze(-1)
        precision = self._sums[0] + added.sum(0)
        weighted = self._sums[1] + (added * means).sum(0)
        self._sums, self._pending = (precision, weighted), []
        self._episodes += 1
        seen = precision > 0
        # A task without a step stays at the prior.
        self._mean = torch.where(seen, weighted / precision, 0.0)
        self._variance = torch.where(seen, precision.reciprocal(), 1.0)

    def snapshot(self) -> Any:
        """Return all that was learned and seen, see `Adaptation.snapshot`."""
        return (
            self._mean,
            self._variance,
            self._sums,
            list(self._pending),
            self._episodes,
            self._explored,
        )

    def restore(self, snapshot: Any) -> None:
        """Go back to what `snapshot` returned."""
        self._mean, self._variance, self._sums, pending, self._episodes, self._explored = snapshot
        self._pending = list(pending)

    def specialise(self, task: int) -> PlainPolicy:
        """Return the policy of a task by the mean of its posterior, see `Adaptation.specialise`."""
        return plain_policy_of(self._policy, self._mean[task])

    def _states(self, observations: Any) -> Tensor:
        return _checked(self._policy, observations, self.tasks)

    def _tensor(self, array: Any) -> Tensor:
        return torch.as_tensor(np.asarray(array, np.float32), device=self._mean.device)


class ToldAdaptation(Adaptation):
    """Acts by the contexts that it is told: there is nothing to learn.

    Args:
        policy: The networks.
        latents: The contexts as observations have them, ``[n, C]``.
    """

    def __init__(self, policy: HyperPEARLPolicy, latents: Tensor) -> None:
        super().__init__(len(latents))
        self._policy, self._latents = policy, latents
        self._act_in = policy.actor.act_in(latents)

    def act(self, observations: Any, *, explore: bool) -> NDArray[np.float32]:
        """Return actions ``[n, A]``, see `Adaptation.act`."""
        states = _checked(self._policy, observations, self.tasks)
        with torch.no_grad():
            mean, _ = self._act_in(torch.arange(self.tasks, device=states.device), states)
        return np.asarray(self._policy.unscale_action(mean.tanh().cpu().numpy()), np.float32)

    def observe(self, transition: Transition) -> None:
        """Learn nothing."""

    def end_episode(self) -> None:
        """Learn nothing."""

    def snapshot(self) -> Any:
        """Return nothing."""
        return None

    def restore(self, snapshot: Any) -> None:
        """Change nothing."""

    def specialise(self, task: int) -> PlainPolicy:
        """Return the policy of a task, see `Adaptation.specialise`."""
        return plain_policy_of(self._policy, self._latents[task])


def _checked(policy: HyperPEARLPolicy, observations: Any, tasks: int) -> Tensor:
    """Return states ``[n, S]`` of observations, one of each task."""
    tensors, _ = policy.obs_to_tensor(observations)
    states, _ = policy.split(tensors)
    if len(states) != tasks:
        raise ShapeError(f"there are {tasks} tasks to adapt to, but observations of {len(states)}")
    return states
