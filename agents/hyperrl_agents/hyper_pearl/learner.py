"""What HyperPEARL does between its rollouts' ends: it visits tasks, draws batches, makes gradient steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule, safe_mean, update_learning_rate

from hyperrl.errors import ConfigError, ContextError
from hyperrl.sb3.contexts.observed import attribute
from hyperrl.sb3.meta.tasks import Tasks, check_horizon
from hyperrl_agents.hyper_pearl.collecting import Collector
from hyperrl_agents.hyper_pearl.one_task import OneTaskMixin
from hyperrl_agents.hyper_pearl.replay import TaskReplay
from hyperrl_agents.hyper_pearl.update import METRICS, Weights, gradient_step

_Ints = NDArray[np.int64]


class LearnerMixin(OneTaskMixin):
    """Rollouts and updates of an agent whose constructor has set all that is named here."""

    replay_buffer: TaskReplay
    buffer_size: int
    batch_size: int
    meta_batch_size: int
    context_batch_size: int
    tau: float
    weights: Weights
    initial_steps: int
    tasks_per_iteration: int
    prior_steps: int
    posterior_steps: int
    extra_steps: int
    critic_learning_rate: float | Schedule
    encoder_learning_rate: float | Schedule
    _rng: np.random.Generator
    _iterations: int
    _pool: NDArray[np.float64] | None = None
    _collector: Collector | None = None

    def check_trainable(self) -> None:
        """Refuse environments that it cannot learn in.

        Raises:
            UnsupportedEnvError: They have no contexts.
            ContextError: There is one task only, or infinitely many, or not the same everywhere.
            ConfigError: Steps hold no episode, the buffer is too small, or observations are normalised.
        """
        if self.env is None:
            raise ConfigError("HyperPEARL learns in environments: give it some with set_env")
        if self._vec_normalize_env is not None:
            raise ConfigError("HyperPEARL learns from observations as they are: leave normalize out")
        pool = Tasks.of_env(self.env, type(self).__name__).pool
        if pool is None:
            raise ContextError(
                "HyperPEARL keeps data of each task, and there are infinitely many here: set env_kwargs "
                "n_train, for example n_train=20, or a split with points"
            )
        horizon = getattr(attribute(self.env, "spec"), "max_episode_steps", None)
        for name in ("initial_steps", "prior_steps", "posterior_steps", "extra_steps"):
            if horizon is not None and getattr(self, name):
                check_horizon(getattr(self, name), horizon, name)
        if self.buffer_size < len(pool) * self.initial_steps:
            raise ConfigError(
                f"buffer_size must hold the first {self.initial_steps} steps of each of {len(pool)} tasks, "
                f"at least {len(pool) * self.initial_steps}, got {self.buffer_size}"
            )
        if self._collector is None:
            self._collector = Collector(self.env, self.policy, self.replay_buffer, pool, horizon)

    def check_steps(self, steps: int) -> None:
        """Refuse a length of learning that ends before the first gradient step.

        Args:
            steps: Environment steps.

        Raises:
            ConfigError: It is too short.
        """
        self.check_trainable()
        waiting = len(self.replay_buffer.without_context())
        if steps <= waiting * self.initial_steps:
            raise ConfigError(
                f"{steps:,} steps are over before anything is learned: each of {waiting} tasks begins with "
                f"{self.initial_steps:,}; ask for more than {waiting * self.initial_steps:,}, or for fewer "
                "initial_steps"
            )

    def _roll_out(self, waiting: _Ints, hooks: BaseCallback) -> bool:
        """Play tasks that still wait for their first data, or else visit some."""
        assert self._collector is not None
        collector = self._collector
        self.policy.set_training_mode(False)

        def told(step: dict[str, Any]) -> bool:
            playing = collector.playing
            self.num_timesteps += int(playing.sum())
            self._episode_num += int((playing & step["dones"]).sum())
            self._update_info_buffer([info for info, on in zip(step["infos"], playing, strict=True) if on])
            hooks.update_locals(step)
            return hooks.on_step()

        def collect(tasks: _Ints, steps: int, posterior: bool, informs: bool) -> bool:
            latents = self._posterior_latents if posterior else self._prior_latents
            # What the encoder sees of a task tells its next episode.
            in_turn = posterior and informs
            return collector.collect(
                tasks, steps, latents, self._rng, told, informs=informs, one_by_one=in_turn
            )

        if len(waiting):
            return collect(waiting[: self.tasks_per_iteration], self.initial_steps, False, True)
        pool = self.replay_buffer.n_tasks
        tasks = np.sort(self._rng.permutation(pool)[: self.tasks_per_iteration])
        for task in tasks:
            self.replay_buffer.clear_context(int(task))
        return (
            collect(tasks, self.prior_steps, False, True)
            and collect(tasks, self.posterior_steps, True, True)
            and collect(tasks, self.extra_steps, True, False)
        )

    def _prior_latents(self, tasks: _Ints) -> torch.Tensor:
        if self.policy.encoder is None:
            return self._told_latents(tasks)
        return self._normal(len(tasks), self.policy.shape.latent)

    @torch.no_grad()
    def _posterior_latents(self, tasks: _Ints) -> torch.Tensor:
        if self.policy.encoder is None:
            return self._told_latents(tasks)
        mean, variance = self.policy.encoder(self._context(tasks))
        drawn: torch.Tensor = mean + variance.sqrt() * self._normal(*mean.shape)
        return drawn

    def _told_latents(self, tasks: _Ints) -> torch.Tensor:
        assert self._pool is not None
        seen = np.stack([self.observed.vector(self._pool[task]) for task in tasks])
        return torch.from_numpy(seen).to(self.device)

    def _context(self, tasks: _Ints) -> torch.Tensor:
        """Return what tasks ``[T]`` are inferred from; where they are told, their latents."""
        if self.policy.encoder is None:
            return self._told_latents(tasks)
        drawn = self.replay_buffer.draw(tasks, self.context_batch_size, self._rng, context=True)
        return drawn.as_context(self.policy.next_states)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self._rng.standard_normal(shape, dtype=np.float32)).to(self.device)

    def train(self, gradient_steps: int) -> None:
        """Make gradient steps on batches of tasks.

        Args:
            gradient_steps: How many.
        """
        self.policy.set_training_mode(True)
        self._set_learning_rates()
        replay = self.replay_buffer
        # A full store may have lost what the encoder saw of a task; it is played again.
        known = np.setdiff1d(np.arange(replay.n_tasks), replay.without_context())
        total = torch.zeros(len(METRICS), device=self.device)
        for _ in range(gradient_steps):
            tasks = known[self._rng.integers(len(known), size=self.meta_batch_size)]
            batch = replay.draw(tasks, self.batch_size, self._rng, context=False)
            total += gradient_step(
                self.policy, batch, self._context(tasks), self.weights, self.tau, self._normal
            )
        self._n_updates += gradient_steps
        for name, value in zip(METRICS, (total / gradient_steps).tolist(), strict=True):
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _set_learning_rates(self) -> None:
        rates = {
            "actor": self.learning_rate,
            "critic": self.critic_learning_rate,
            "value": self.critic_learning_rate,
            "encoder": self.encoder_learning_rate,
        }
        for name, optimizer in self.policy.optimizers.items():
            rate = FloatSchedule(rates[name])(self._current_progress_remaining)
            update_learning_rate(optimizer, rate)
            self.logger.record(f"train/{name}_learning_rate", rate)

    def _dump(self) -> None:
        seconds = max(1e-9, (time.time_ns() - self.start_time) / 1e9)
        episodes = self.ep_info_buffer or ()
        if episodes:
            self.logger.record("rollout/ep_rew_mean", safe_mean([info["r"] for info in episodes]))
            self.logger.record("rollout/ep_len_mean", safe_mean([info["l"] for info in episodes]))
        steps = self.num_timesteps - self._num_timesteps_at_start
        self.logger.record("time/iterations", self._iterations, exclude="tensorboard")
        self.logger.record("time/episodes", self._episode_num, exclude="tensorboard")
        self.logger.record("time/fps", int(steps / seconds))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what decides the next tasks, batches and latents, see `hyperrl.run.state`."""
        return {"rng": self._rng.bit_generator.state, "latent": self.policy.latent.cpu().clone()}

    def restore_checkpoint_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `checkpoint_state` returned, after the replay buffer's rows."""
        self._rng.bit_generator.state = dict(state["rng"])
        self.policy.latent.copy_(state["latent"])
        self.replay_buffer.index()
