"""HyperPPO: proximal policy optimisation of many architectures at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from hyperrl.errors import ConfigError, MixedTransitionsError
from hyperrl.nets.architectures import ArchitectureSampler
from hyperrl.nets.architectures.packing import Packing
from hyperrl.plain_policy import PlainPolicy
from hyperrl.ranges import above, whole
from hyperrl.sb3 import ppo_losses as losses
from hyperrl.sb3.named_runs import NamedRuns
from hyperrl.sb3.ppo_metrics import means_of
from hyperrl.sb3.rollouts import Act, Rollouts
from hyperrl_agents.hyper_ppo.buffers import ArchitectureRolloutBuffer, ArchitectureSamples
from hyperrl_agents.hyper_ppo.policies import HyperActorCriticPolicy
from hyperrl_agents.hyper_ppo.returns import ArchitectureReturns
from hyperrl_agents.hyper_ppo.single import plain_policy_of, polished

# Before the first step of an optimiser, probabilities differ from those of the rollout by rounding alone.
_LARGEST_FIRST_DEVIATION = 0.01
_ROUNDINGS = 256
_RATE_STEP = 1.5
_SMALLEST_FACTOR, _LARGEST_FACTOR = 0.003, 7.0
# What a rollout has where nothing is said.
_MOST_ARCHITECTURES = 8


class HyperPPO(NamedRuns, Rollouts, PPO):
    """PPO over a space of architectures (Hegde et al., ICRA 2024): one run, a policy for each of them.

    Each rollout is flown by a few architectures that are drawn anew for it, each in a block of neighbouring
    environments of the same size; a generator gives the weights of their policies, once for a rollout and
    once for each step of the optimiser, which trains the generator. Advantages are normalised for each
    architecture by itself.

    Takes the arguments of Stable-Baselines3's `PPO`, but for state-dependent exploration, and:

    Args:
        n_architectures: Architectures of a rollout; the number of environments and ``batch_size`` are
            multiples of it. None takes as many as can be, up to 8.
        sampler: How they are drawn, one of `hyperrl.nets.architectures.SAMPLERS`.
        desired_kl: The divergence that an epoch is to have: where it is more than twice as large, the
            learning rate is divided by 1.5 from there on, where it is less than half, multiplied. A step of a
            generator moves all weights of a policy at once, so that the right rate depends on the generator.
            None keeps the rate.
        draw_every: For how many rollouts drawn architectures stay. Episodes longer than these rollouts are
            flown by several architectures.

    Raises:
        ConfigError: Environments or minibatches cannot be divided among the architectures.

    Example:
        >>> from hyperrl import HyperPPO
        >>> model = HyperPPO("MlpPolicy", "Pendulum-v1", n_steps=64)
        >>> action, _ = model.predict([0.0, 1.0, 0.0], deterministic=True, architecture=[16, 16])
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": HyperActorCriticPolicy}
    policy: HyperActorCriticPolicy
    rollout_buffer: ArchitectureRolloutBuffer

    def __init__(
        self,
        policy: str | type[HyperActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        *,
        n_architectures: int | None = None,
        sampler: str = "biased",
        desired_kl: float | None = None,
        draw_every: int = 1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if rollout_buffer_class not in (None, ArchitectureRolloutBuffer):
            raise ConfigError("HyperPPO has a rollout buffer of its own: leave rollout_buffer_class out")
        if kwargs.get("use_sde"):
            raise ConfigError("HyperPPO has no state-dependent exploration: leave use_sde out")
        self.n_architectures = n_architectures
        self.sampler_kind = sampler
        self.desired_kl = desired_kl
        self.draw_every = draw_every
        # What the learning rate is multiplied by, part of a checkpoint as all counters are.
        self._rate_factor = 1.0
        super().__init__(
            policy,
            env,
            learning_rate,
            rollout_buffer_class=ArchitectureRolloutBuffer,
            _init_setup_model=False,
            **kwargs,
        )
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        if self.n_architectures is not None:
            whole(1).check("n_architectures", self.n_architectures)
        whole(1).check("draw_every", self.draw_every)
        if self.desired_kl is not None:
            above(0, 1e3).check("desired_kl", self.desired_kl)
        # One environment is enough for a model that only acts.
        if self.n_envs > 1:
            self.check_trainable()
        super()._setup_model()
        self._plans: dict[tuple[int, bool], Packing] = {}
        self.architecture_returns = ArchitectureReturns(self.policy.space, self.n_envs)
        count = self._count_architectures()
        # Stable-Baselines3 sets a loaded model up when it has its attributes already.
        if not hasattr(self, "_sampler"):
            seed = 0 if self.seed is None else self.seed
            self._sampler = ArchitectureSampler(self.policy.space, count, self.sampler_kind, seed)
            self._drawn: NDArray[np.int64] = np.zeros(0, np.int64)
            self._rollouts_since_draw = 0
        elif self._sampler.count != count:
            # It may go on with another number of environments.
            self._sampler.count = count
            self._drawn = np.zeros(0, np.int64)

    def _count_architectures(self) -> int:
        if self.n_architectures is not None:
            return self.n_architectures
        most = min(_MOST_ARCHITECTURES, len(self.policy.space))
        shared = math.gcd(self.n_envs, self.batch_size)
        return max(count for count in range(1, most + 1) if shared % count == 0)

    def check_trainable(self) -> None:
        """Refuse to train where environments or minibatches cannot be divided among the architectures.

        Raises:
            ConfigError: The number of environments or of a minibatch's transitions is no multiple.
        """
        count = self.n_architectures or 1
        for name, value in (("the number of environments", self.n_envs), ("batch_size", self.batch_size)):
            if value % count:
                raise ConfigError(
                    f"{name} must be a multiple of the {count} architectures of a rollout "
                    f"(n_architectures), got {value}"
                )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self.check_trainable()
        return super()._setup_learn(*args, **kwargs)

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        architecture: Sequence[int] | None = None,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Give the action of one architecture's policy.

        Args:
            observation: One observation or a batch.
            state: Passed on to Stable-Baselines3.
            episode_start: Passed on to Stable-Baselines3.
            deterministic: Whether to give the mean action rather than to draw one.
            architecture: Which policy acts, by its hidden widths, such as ``[16, 16]``; the largest of the
                space if None.

        Raises:
            UnknownNameError: The architecture is not in the space.
        """
        return self.policy.predict(observation, state, episode_start, deterministic, architecture)

    def specialise(
        self, architecture: Sequence[int], *, vec_normalize: VecNormalize | None = None
    ) -> PlainPolicy:
        """Return the policy of one architecture as a plain policy.

        Args:
            architecture: Its hidden widths, such as ``[16, 16]``.
            vec_normalize: What normalises its observations; None takes that of the agent's environment.

        Raises:
            UnknownNameError: The architecture is not in the space.
            NonFiniteError: A weight is NaN or infinite.
        """
        return plain_policy_of(
            self.policy,
            architecture,
            self.get_vec_normalize_env() if vec_normalize is None else vec_normalize,
        )

    def polish(self, architecture: Sequence[int], **settings: Any) -> PPO:
        """Return Stable-Baselines3's PPO whose policy is the one of an architecture, to be trained on.

        An architecture has a small share of the training; on its own it can go on from there.

        Args:
            architecture: Its hidden widths.
            settings: Arguments of `PPO` that are to be others than this agent's.

        Raises:
            UnknownNameError: The architecture is not in the space.

        Example:
            >>> from hyperrl import HyperPPO
            >>> model = HyperPPO("MlpPolicy", "Pendulum-v1", n_steps=64)
            >>> polished = model.polish([16, 16], learning_rate=1e-4).learn(64)
        """
        return polished(self, architecture, settings)

    def train(self) -> None:
        """Update generator and critic on the rollout, epoch by epoch and minibatch by minibatch."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self._scale_learning_rate(1.0)
        if self.normalize_advantage:
            self.rollout_buffer.normalise_advantages(len(self._drawn))
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        metrics: list[list[Tensor]] = []
        parameters = list(self.policy.parameters())
        stopped = False
        for epoch in range(self.n_epochs):
            metrics.append([])
            for batch in self.rollout_buffer.stratified(self._drawn, self.batch_size):
                first = epoch == 0 and not metrics[0]
                loss, of_batch = self._loss(batch, clip_range, first)
                metrics[-1].append(of_batch)
                if self.target_kl is not None and of_batch[4] > 1.5 * self.target_kl:
                    stopped = True
                    break
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm, foreach=True)
                self.policy.optimizer.step()
            self._n_updates += 1
            if stopped:
                break
            self._adapt_learning_rate(metrics[-1])
        self._record(metrics, clip_range)

    def _loss(self, batch: ArchitectureSamples, clip_range: float, first: bool) -> tuple[Tensor, Tensor]:
        """Return the loss of a minibatch and its `METRICS`."""
        plan = self._plan(len(batch.actions) // len(self._drawn), training=True)
        values, log_prob, entropy = self.policy.evaluate(
            plan, batch.observations, batch.actions, batch.architectures
        )
        log_ratio = log_prob - batch.old_log_prob
        ratio = log_ratio.exp()
        if first:
            _require_same(ratio, batch.actions, self.policy.log_std)
        if self.clip_range_vf is not None:
            bound = self.clip_range_vf(self._current_progress_remaining)  # type: ignore[operator]
            values = losses.clipped_values(values, batch.old_values, bound)
        policy_loss = losses.clipped_surrogate(ratio, batch.advantages, clip_range)
        value_loss = losses.value_loss(values, batch.returns)
        entropy_loss = losses.entropy_loss(entropy, log_prob)
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        with torch.no_grad():
            share, divergence = losses.clip_fraction(ratio, clip_range), losses.approximate_kl(log_ratio)
            return loss, torch.stack([policy_loss, value_loss, entropy_loss, share, divergence, loss])

    def _adapt_learning_rate(self, metrics: Sequence[Tensor]) -> None:
        """Bring the divergence of the next epoch nearer to the desired one (Hegde et al., ICRA 2024)."""
        if self.desired_kl is None:
            return
        divergence = float(torch.stack([of_batch[4] for of_batch in metrics]).mean())
        if divergence > 2 * self.desired_kl:
            self._scale_learning_rate(1 / _RATE_STEP)
        elif divergence < self.desired_kl / 2:
            self._scale_learning_rate(_RATE_STEP)

    def _scale_learning_rate(self, by: float) -> None:
        self._rate_factor = min(max(self._rate_factor * by, _SMALLEST_FACTOR), _LARGEST_FACTOR)
        rate = self._rate_factor * self.lr_schedule(self._current_progress_remaining)
        for group in self.policy.optimizer.param_groups:
            group["lr"] = rate

    def _record(self, metrics: list[list[Tensor]], clip_range: float) -> None:
        """Log what Stable-Baselines3 logs."""
        stacked = torch.stack([one for of_epoch in metrics for one in of_epoch])
        means = means_of(stacked, len(metrics[-1]), self.rollout_buffer)
        means["std"] = self.policy.log_std.exp().mean().item()
        means["clip_range"] = clip_range
        means["learning_rate"] = self.policy.optimizer.param_groups[0]["lr"]
        for name, value in means.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for depth, mean in self.architecture_returns.take_means().items():
            self.logger.record(f"architectures/ep_rew_mean_depth_{depth}", mean)
        seen = int((self._sampler.visits > 0).sum())
        self.logger.record("architectures/share_trained", seen / len(self.policy.space))

    def _make_act(self, rollout_buffer: RolloutBuffer) -> Act:
        if self._rollouts_since_draw % self.draw_every == 0 or not len(self._drawn):
            self._drawn = self._sampler.draw()
            self._plans.clear()
            self._rollouts_since_draw = 0
        self._rollouts_since_draw += 1
        each = self.n_envs // len(self._drawn)
        numbers = np.repeat(self._drawn, each)
        assert isinstance(rollout_buffer, ArchitectureRolloutBuffer)
        rollout_buffer.assign(numbers)
        self.architecture_returns.assign(numbers, np.asarray(self._last_episode_starts))
        policy, of_envs = self.policy, torch.from_numpy(numbers).to(self.device)
        with torch.no_grad():
            networks = policy.networks(self._plan(each))

        def act(observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            means = networks(policy.flat(observations).unflatten(0, (-1, each))).flatten(0, 1)
            distribution = policy.distribution_of(means)
            actions = distribution.sample()
            shaped = actions.reshape(-1, *self.action_space.shape)  # type: ignore[misc]
            return shaped, policy.values_of(observations, of_envs), distribution.log_prob(actions)

        return act

    def _values_of(self, observations: Tensor, environments: NDArray[np.int64]) -> Tensor:
        each = self.n_envs // len(self._drawn)
        numbers = torch.from_numpy(self._drawn[environments // each]).to(self.device)
        with torch.no_grad():
            return self.policy.values_of(observations, numbers)

    def _update_info_buffer(
        self, infos: list[dict[str, Any]], dones: NDArray[np.bool_] | None = None
    ) -> None:
        super()._update_info_buffer(infos, dones)
        if dones is not None:
            self.architecture_returns.step(infos, dones)

    def _plan(self, rows: int, training: bool = False) -> Packing:
        """Return how the drawn architectures are applied to so many rows each."""
        if (rows, training) not in self._plans:
            self._plans[rows, training] = self.policy.plan(self._drawn, rows, training)
        return self._plans[rows, training]

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what a resumed run has to know besides what Stable-Baselines3's algorithms remember."""
        return {
            "sampler": self._sampler.state(),
            "drawn": self._drawn.copy(),
            "returns": self.architecture_returns.state(),
        }

    def restore_checkpoint_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state: What `checkpoint_state` returned.
        """
        self._sampler.restore(state["sampler"])
        self._drawn = np.array(state["drawn"], np.int64)
        self._plans.clear()
        self.architecture_returns.restore(state["returns"])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_plans", "architecture_returns"]


@torch.no_grad()
def _require_same(ratio: Tensor, actions: Tensor, log_std: Tensor) -> None:
    """Refuse transitions that the networks of the rollout did not make."""
    deviation = float((ratio - 1).abs().max())
    # Means are rounded relative to their size, and what that does to a probability depends on the spread.
    rounding = torch.finfo(actions.dtype).eps * float(actions.abs().sum(1).max() / log_std.exp().min())
    if not deviation <= _LARGEST_FIRST_DEVIATION + _ROUNDINGS * rounding:
        raise MixedTransitionsError(
            f"before any update the probabilities of actions must be those of the rollout, but one differs "
            f"by {deviation:.2g}: transitions and architectures do not belong together, or the policy was "
            f"changed during the rollout"
        )
