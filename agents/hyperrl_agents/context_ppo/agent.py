"""ContextPPO: proximal policy optimisation of networks that see a context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor

from hyperrl.errors import ConfigError, UnsupportedSpaceError
from hyperrl.sb3 import ppo_losses as losses
from hyperrl.sb3.contexts.agent import ContextAgentMixin
from hyperrl.sb3.contexts.extractor import flat_observations, ordered_keys
from hyperrl.sb3.contexts.groups import Groups, numbered
from hyperrl.sb3.contexts.on_policy import ContextActorCriticPolicy
from hyperrl.sb3.contexts.rollout_buffer import FeatureRolloutBuffer
from hyperrl.sb3.named_runs import NamedRuns
from hyperrl.sb3.ppo_metrics import means_of
from hyperrl.sb3.rollouts import Act, Rollouts

_COLUMNS = ("actions", "values", "log_probs", "advantages", "returns")


class ContextPPO(NamedRuns, ContextAgentMixin, Rollouts, PPO):
    """PPO (Schulman et al., 2017) whose actor and critic see the task's context, each in its own way.

    Takes the arguments of Stable-Baselines3's `PPO`, but for state-dependent exploration, and computes what
    it does. ``policy_kwargs`` takes ``actor``, ``critic`` and ``match_params`` besides, see
    `hyperrl.sb3.contexts.policy.ContextPolicyMixin`. Observations are a vector, with the context in its last
    numbers, or a dict with ``context`` and one or more other vectors; both as `hyperrl_envs.contextual` gives
    them. Without a context it is plain PPO, whatever the networks are.

    What is generated from contexts is generated once for each distinct one of a minibatch, and while acting
    only where a context changes.

    Example:
        >>> from hyperrl import ContextPPO
        >>> model = ContextPPO("MlpPolicy", "Pendulum-v1", policy_kwargs=dict(actor="concat"))
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ContextActorCriticPolicy,
        "MultiInputPolicy": ContextActorCriticPolicy,
    }
    policy: ContextActorCriticPolicy

    def _setup_model(self) -> None:
        if self.use_sde:
            raise ConfigError("ContextPPO has no state-dependent exploration: leave use_sde out")
        space = self.observation_space
        for part in space.spaces.values() if isinstance(space, spaces.Dict) else [space]:
            if not isinstance(part, spaces.Box | spaces.MultiBinary) or is_image_space(part):
                raise UnsupportedSpaceError(
                    f"ContextPPO takes observations that are vectors, or a dict of vectors, got {part}"
                )
        self._keys: list[str] | None = None
        if isinstance(space, spaces.Dict):
            self._keys = ordered_keys(space)
            if self.rollout_buffer_class not in (None, FeatureRolloutBuffer):
                raise ConfigError(
                    "ContextPPO has a rollout buffer of its own for dicts: leave rollout_buffer_class out"
                )
            self.rollout_buffer_class = FeatureRolloutBuffer
        super()._setup_model()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_keys"]

    def train(self) -> None:
        """Update the policy on the rollout, epoch by epoch and minibatch by minibatch."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        progress = self._current_progress_remaining
        clip_range = float(self.clip_range(progress))  # type: ignore[operator]
        value_range = None if self.clip_range_vf is None else float(self.clip_range_vf(progress))  # type: ignore[operator]
        rollout = _Rollout.of(self.rollout_buffer, self.observed.size, self.device)
        parameters = list(self.policy.parameters())
        metrics: list[list[Tensor]] = []
        stopped = False
        for epoch in range(self.n_epochs):
            metrics.append([])
            for batch in rollout.minibatches(self.batch_size):
                loss, of_batch = self._loss(batch, clip_range, value_range)
                metrics[-1].append(of_batch)
                if self.target_kl is not None and of_batch[4] > 1.5 * self.target_kl:
                    stopped = True
                    if self.verbose >= 1:
                        print(f"Early stopping at step {epoch} due to reaching max kl: {of_batch[4]:.2f}")
                    break
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm, foreach=True)
                self.policy.optimizer.step()
            self._n_updates += 1
            if stopped:
                break
        self._record(metrics, clip_range, value_range)

    def _loss(self, batch: _Minibatch, clip_range: float, value_range: float | None) -> tuple[Tensor, Tensor]:
        """Return the loss of a minibatch and its `METRICS`."""
        values, log_prob, entropy = self.policy.evaluate(batch.features, batch.actions, batch.groups)
        advantages = batch.advantages
        if self.normalize_advantage:
            advantages = losses.normalised_advantages(advantages)
        if value_range is not None:
            values = losses.clipped_values(values, batch.values, value_range)
        log_ratio = log_prob - batch.log_probs
        ratio = log_ratio.exp()
        policy_loss = losses.clipped_surrogate(ratio, advantages, clip_range)
        value_loss = losses.value_loss(values, batch.returns)
        loss = policy_loss - self.ent_coef * entropy + self.vf_coef * value_loss
        with torch.no_grad():
            share, divergence = losses.clip_fraction(ratio, clip_range), losses.approximate_kl(log_ratio)
            return loss, torch.stack([policy_loss, value_loss, -entropy, share, divergence, loss])

    def _record(self, metrics: list[list[Tensor]], clip_range: float, value_range: float | None) -> None:
        """Log what Stable-Baselines3 logs."""
        stacked = torch.stack([one for of_epoch in metrics for one in of_epoch])
        means = means_of(stacked, len(metrics[-1]), self.rollout_buffer)
        means["std"] = self.policy.log_std.exp().mean().item()
        means["clip_range"] = clip_range
        if value_range is not None:
            means["clip_range_vf"] = value_range
        for name, value in means.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _make_act(self, rollout_buffer: RolloutBuffer) -> Act:
        # Its `forward` is looked up on every step: somebody may put another one on this very policy.
        return lambda features: self.policy(features)

    def _as_array(self, observations: Any) -> NDArray[Any]:
        if self._keys is None:
            return super()._as_array(observations)
        return flat_observations(observations, self._keys)

    def _values_of(self, observations: Tensor, environments: NDArray[np.int64]) -> Tensor:
        with torch.no_grad():
            return self.policy.values_of(observations.float())

    def _bootstrap_time_limits(
        self, rewards: NDArray[Any], dones: NDArray[Any], infos: list[dict[str, Any]]
    ) -> None:
        """Add to the last reward of each episode cut short what would have come after it, in one batch."""
        cut = [
            index
            for index in np.flatnonzero(dones)
            if infos[index].get("terminal_observation") is not None
            and infos[index].get("TimeLimit.truncated", False)
        ]
        if not cut:
            return
        last = [infos[index]["terminal_observation"] for index in cut]
        if self._keys is None:
            stacked: Any = np.stack(last)
        else:
            stacked = {key: np.stack([one[key] for one in last]) for key in self._keys}
        features = torch.as_tensor(self._as_array(stacked), dtype=torch.float32, device=self.device)
        rewards[cut] += self.gamma * self._values_of(features, np.array(cut)).cpu().numpy()[:, 0]


class _Minibatch(NamedTuple):
    """Rows of a rollout, and which of them have the same context."""

    features: Tensor
    groups: Groups | None
    actions: Tensor
    values: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


class _Rollout(NamedTuple):
    """A rollout as tensors of M rows, its distinct contexts numbered."""

    features: Tensor
    columns: Tensor
    actions: Tensor
    contexts: Tensor | None
    ids: NDArray[np.int64]

    @classmethod
    def of(cls, buffer: RolloutBuffer, context_size: int, device: torch.device) -> _Rollout:
        """Take over a full buffer, in the order that Stable-Baselines3 has."""
        flat: dict[str, NDArray[Any]] = {
            name: buffer.swap_and_flatten(getattr(buffer, name)) for name in ("observations", *_COLUMNS)
        }
        features = flat["observations"].reshape(len(flat["actions"]), -1)
        columns = np.concatenate([flat[name] for name in _COLUMNS[1:]], axis=1)
        contexts, ids = None, np.zeros(0, np.int64)
        if context_size:
            distinct, ids = numbered(features[:, -context_size:])
            contexts = torch.from_numpy(distinct).to(device)

        def sent(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(device)

        return cls(sent(features), sent(columns), sent(flat["actions"]), contexts, ids)

    def minibatches(self, size: int) -> Iterator[_Minibatch]:
        """Go through all rows once, in the order that Stable-Baselines3 would draw."""
        order = np.random.permutation(len(self.features))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            index = torch.from_numpy(rows).to(self.features.device)
            groups = None if self.contexts is None else Groups.of_ids(self.contexts, self.ids[rows])
            columns = self.columns.index_select(0, index).unbind(1)
            features, actions = self.features.index_select(0, index), self.actions.index_select(0, index)
            yield _Minibatch(features, groups, actions, *columns)
