"""The loop of meta-learning by trust regions: tasks, episodes, inner steps, one outer step."""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import safe_mean
from torch import Tensor

from hyperrl.sb3.contexts.observed import Observed
from hyperrl.sb3.meta.choices import check_policy_kwargs
from hyperrl.sb3.meta.episodes import EpisodeCollector, Episodes
from hyperrl.sb3.meta.tasks import Tasks
from hyperrl_agents.hyper_maml.actor import TaskWeights
from hyperrl_agents.hyper_maml.batches import TaskBatch
from hyperrl_agents.hyper_maml.inner import InnerRule, MetaObjective, adapted, slices
from hyperrl_agents.hyper_maml.policies import HyperMAMLPolicy
from hyperrl_agents.hyper_maml.rollouts import TaskActing, batch_of
from hyperrl_agents.hyper_maml.trust_region import TrustRegion, take_step

_RATES = {"hyper": 5e-5, "mlp": 0.1}
"""The published learning rates of the inner step."""


class Collected(NamedTuple):
    """What an iteration learns from.

    Attributes:
        conditions: What is seen of each task's context, ``[T, d]``.
        before: The data of each inner step.
        after: Those behind the last one.
    """

    conditions: Tensor
    before: list[TaskBatch]
    after: TaskBatch


class MetaLearner(BaseAlgorithm):
    """Collects and learns; arguments and the rest of the verbs are `HyperMAML`'s."""

    policy: HyperMAMLPolicy
    meta_batch_size: int
    episodes_per_task: int
    inner_steps: int
    inner_lr: float | None
    first_order: bool
    adapt: str
    gamma: float
    gae_lambda: float
    region: TrustRegion
    tasks_at_once: int | None
    _tasks: Tasks | None = None
    _collected: Collected | None = None

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        # Stable-Baselines3 sets a loaded model up when it has its attributes already.
        if not hasattr(self, "_rng"):
            self._rng = np.random.default_rng(self.seed)
        check_policy_kwargs(self.policy_class, self.policy_kwargs)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)
        self.policy.actor.check_adapts(self.adapt)

    @property
    def inner_rule(self) -> InnerRule:
        """The inner step."""
        rate = _RATES[self.policy.kind] if self.inner_lr is None else self.inner_lr
        return InnerRule(self.adapt, rate, self.first_order)

    @property
    def batch_settings(self) -> dict[str, Any]:
        """Further arguments of `TaskBatch.of`."""
        return {"gamma": self.gamma, "gae_lambda": self.gae_lambda, "device": self.device}

    def check_trainable(self) -> None:
        """Refuse to learn where there are no tasks, or only one.

        Raises:
            UnsupportedEnvError: The environments have no contexts.
            ContextError: Training has one task only, or the environments have different ones.
        """
        if self._tasks is None:
            assert self.env is not None
            found = Tasks.of_env(self.env, type(self).__name__)
            self._tasks = Tasks(found.splits, self._rng)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "HyperMAML",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Make iterations until so many steps of environments have been made.

        Args:
            total_timesteps: How many; the last iteration is made whole.
            callback: A callback, several, or a function; a rollout is all episodes of an iteration.
            log_interval: Iterations between two records of the logger.
            tb_log_name: Name of the run in TensorBoard.
            reset_num_timesteps: Whether the count of steps starts at zero.
            progress_bar: Whether to show one.
        """
        total, hooks = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        hooks.on_training_start(locals(), globals())
        iterations = 0
        while self.num_timesteps < total:
            hooks.on_rollout_start()
            self._collected = self._collect(hooks)
            if self._collected is None:
                break
            hooks.on_rollout_end()
            self._update_current_progress_remaining(self.num_timesteps, total)
            iterations += 1
            if log_interval and iterations % log_interval == 0:
                self.dump_logs(iterations)
            self.train()
        hooks.on_training_end()
        return self

    def conditions(self, contexts: NDArray[np.float64]) -> Tensor:
        """Return what the actor sees of contexts, ``[T, d]``, or ``[T, 0]``.

        Args:
            contexts: Raw, ``[T, d]``.

        Raises:
            HyperRLError: One is not in the space.
        """
        observed: Observed = self.policy.observed
        rows = np.stack([observed.vector(context)[: observed.size] for context in contexts])
        return self.policy.seen(torch.from_numpy(rows).to(self.device))

    def adapted_weights(self, conditions: Tensor, batches: list[TaskBatch]) -> TaskWeights:
        """Return the policies of tasks after one inner step for each batch.

        Args:
            conditions: What is seen of each context, ``[T, d]``.
            batches: Data of the tasks.
        """
        actor, rule = self.policy.actor, self.inner_rule
        parameters = {name: value.detach() for name, value in actor.by_name().items()}
        # The values are the same, and nobody differentiates them here.
        constant = InnerRule(rule.adapt, rule.rate)
        parts = []
        for which in slices(len(conditions), self.tasks_at_once or len(conditions)):
            own_batches = [batch.tasks(which) for batch in batches]
            own = adapted(actor, parameters, conditions[which], own_batches, constant)
            parts.append(actor.task_weights(parameters, own, conditions[which]).detach())
        return TaskWeights(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def train(self) -> None:
        """Make one step of the parameters on what was collected last."""
        assert self._collected is not None
        conditions, before, after = self._collected
        actor = self.policy.actor
        old = actor.gaussian(self.adapted_weights(conditions, before), after.states)
        objective = MetaObjective(actor, conditions, before, after, old, self.inner_rule)
        parts = objective.parts(self.tasks_at_once or len(conditions))
        step = take_step(list(actor.parameters()), parts, self.region)
        self._n_updates += 1
        self.logger.record("train/surrogate_loss", step.loss_after)
        self.logger.record("train/kl_divergence", step.divergence)
        self.logger.record("train/line_search_tries", step.tries)
        self.logger.record("train/moved", float(step.moved))
        self.logger.record("train/std", actor.log_std.detach().exp().mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def dump_logs(self, iteration: int = 0) -> None:
        """Write what Stable-Baselines3 writes of episodes and time.

        Args:
            iteration: Its number.
        """
        assert self.ep_info_buffer is not None
        elapsed = max((time.time_ns() - self.start_time) / 1e9, sys.float_info.epsilon)
        if self.ep_info_buffer:
            self.logger.record("rollout/ep_rew_mean", safe_mean([one["r"] for one in self.ep_info_buffer]))
            self.logger.record("rollout/ep_len_mean", safe_mean([one["l"] for one in self.ep_info_buffer]))
        steps = self.num_timesteps - self._num_timesteps_at_start
        self.logger.record("time/iterations", iteration, exclude="tensorboard")
        self.logger.record("time/fps", int(steps / elapsed))
        self.logger.record("time/time_elapsed", int(elapsed), exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def _collect(self, hooks: BaseCallback) -> Collected | None:
        """Play episodes of new tasks before and behind each inner step; None if a callback ended it."""
        assert self._tasks is not None
        self.policy.set_training_mode(False)
        contexts = self._tasks.draw(self.meta_batch_size)
        conditions = self.conditions(contexts)
        batches: list[TaskBatch] = []
        for phase in range(self.inner_steps + 1):
            episodes = self._play(contexts, self.adapted_weights(conditions, batches), hooks)
            if episodes is None:
                return None
            batches.append(batch_of(episodes, len(contexts), self.policy.state_size, **self.batch_settings))
            mean = float(episodes.returns.mean())
            if phase == 0:
                self.logger.record("rollout/return_before", mean)
        self.logger.record("rollout/return_after", mean)
        return Collected(conditions, batches[:-1], batches[-1])

    def _play(
        self, contexts: NDArray[np.float64], tasks: TaskWeights, hooks: BaseCallback
    ) -> Episodes | None:
        def told(step: dict[str, Any]) -> bool:
            self.num_timesteps += self.n_envs
            hooks.update_locals(step)
            if not hooks.on_step():
                return False
            self._update_info_buffer(step["infos"], step["dones"])
            return True

        assert self.env is not None
        each = self.episodes_per_task
        act = TaskActing(self.policy.actor, tasks, each, self.policy.state_size)
        return EpisodeCollector(self.env).play(np.repeat(contexts, each, axis=0), act, told)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self.check_trainable()
        return super()._setup_learn(*args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_tasks", "_collected"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []
