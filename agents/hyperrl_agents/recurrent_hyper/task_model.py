"""VariBAD's model of the task beside the policy: the trials that it learns from, and its training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyperrl.sb3.meta.trials import START
from hyperrl_agents.recurrent_hyper.elbo import bound_loss
from hyperrl_agents.recurrent_hyper.policies import RecurrentHyperPolicy
from hyperrl_agents.recurrent_hyper.rollout import Rollout
from hyperrl_agents.recurrent_hyper.trajectories import TrialBuffer

_LARGEST_NORM = 0.5


class TaskModel:
    """Trains the memory to predict the rewards of whole trials (Zintgraf et al., ICLR 2020).

    Args:
        policy: With an encoder and decoders.
        n_envs: Number of environments.

    Attributes:
        trials: The trials that there are.
    """

    def __init__(self, policy: RecurrentHyperPolicy, n_envs: int) -> None:
        self._policy = policy
        size = max(place.stop for place in policy.columns.places.values())
        self.trials = TrialBuffer(int(policy.elbo.buffer_size), n_envs, size)
        self._ends: list[tuple[int, int, NDArray[np.float32]]] = []

    def begin_rollout(self) -> None:
        """Forget the ends of a rollout that was given up."""
        self._ends = []

    def end_episodes(self, step: int, envs: Iterable[int], last: NDArray[np.float32]) -> None:
        """Take note of what came last in episodes, which the next observations do not say.

        Args:
            step: Of the rollout.
            envs: The environments.
            last: Features of the last observation of each, ``[n, F]``.
        """
        self._ends += [(step, int(env), row) for env, row in zip(envs, last, strict=True)]

    def add(self, rollout: Rollout, last: NDArray[np.float32]) -> None:
        """Take the steps of a rollout.

        Args:
            rollout: The rollout.
            last: Features of the observations after it, ``[N, F]``.
        """
        features = rollout.features.cpu().numpy()
        following = np.concatenate([features[1:], last[None]])
        begins = last[:, self._policy.columns.places[START].start] > 0
        for step, env, row in self._ends:
            following[step, env] = row
        self.trials.add(features, following, np.concatenate([rollout.starts, begins[None]]))

    def train(self, rollout: Rollout) -> dict[str, float]:
        """Train on trials that are drawn, then let the latents of a rollout count in their statistics.

        Args:
            rollout: The last rollout, whose update is over: it and its update see latents by the same
                statistics.

        Returns:
            What is logged.
        """
        policy, settings = self._policy, self._policy.elbo
        told: list[dict[str, Tensor]] = []
        for _ in range(int(settings.updates) if len(self.trials) else 0):
            parts = bound_loss(policy, self.trials.sample(int(settings.trials), policy.device))
            policy.elbo_optimizer.zero_grad()
            parts["loss"].backward()
            for module in (policy.encoder, policy.decoders):
                nn.utils.clip_grad_norm_(module.parameters(), _LARGEST_NORM, foreach=True)
            policy.elbo_optimizer.step()
            told.append({name: part.detach() for name, part in parts.items()})
        with torch.no_grad():
            hidden = policy.encoder.sequences(rollout.features, rollout.hidden)
            policy.latent_normaliser.count(policy.encoder.latent(hidden))
        names = told[0] if told else ()
        means = {name: torch.stack([parts[name] for parts in told]).mean().item() for name in names}
        return {**means, "trials": float(len(self.trials))}
