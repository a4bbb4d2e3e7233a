"""HyperZero with the verbs of Stable-Baselines3: it learns from solved tasks instead of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from hyperrl.errors import ConfigError
from hyperrl.ranges import between, whole
from hyperrl_agents.hyper_zero import objectives
from hyperrl_agents.hyper_zero.batches import TaskBatch, TaskBatches
from hyperrl_agents.hyper_zero.methods import find_method
from hyperrl_agents.hyper_zero.one_context import OneContextMixin
from hyperrl_agents.hyper_zero.policies import HyperZeroMultiInputPolicy, HyperZeroPolicy

# Gradient steps between two looks at callbacks, evaluations, signals.
_ROUND = 10


class HyperZero(OneContextMixin):
    """Zero-shot policies from solved tasks (Rezaei-Shoshtari et al., AAAI 2023), and what they compare with.

    A hypernetwork generates the policy and the value function of a context. It is trained by regression on
    what experts of other contexts did (`hyperrl zero-shot prepare`), with a TD term besides. ``learn`` makes
    as many gradient steps as it is asked for and never steps an environment, which only says what
    observations, contexts and actions are like.

    Args:
        policy: "MlpPolicy" for vectors whose last numbers are the context, "MultiInputPolicy" for dicts.
        env: The environment, contextual.
        learning_rate: Of Adam.
        dataset: Folder of a data set; needed to learn, not to act.
        method: One of `hyperrl_agents.hyper_zero.methods.METHODS`: HyperZero, or a baseline.
        tasks_per_batch: Tasks of a batch: weights are generated once for each.
        rows_per_task: Transitions of each.
        value_weight: Weight of the value's error.
        td_weight: Weight of the TD term.
        kl_weight: Weight of the latent's divergence, for "pearl".
        gamma: Discount; None for the data set's.
        context_noise: Standard deviation of noise on contexts, clipped at 0.02.
        inner_steps: Steps of the adaptation, for "maml".
        inner_rate: Learning rate of these.
        policy_kwargs: See `HyperZeroPolicy`.
        stats_window_size: Unused: there are no episodes.
        tensorboard_log: As in Stable-Baselines3.
        verbose: As in Stable-Baselines3.
        seed: Seed of weights and batches.
        device: Where the networks run.

    Raises:
        ConfigError: A number is out of range, or contexts cannot be seen.
        UnknownNameError: There is no such method.

    Example:
        >>> from hyperrl import HyperZero
        >>> agent = HyperZero("MlpPolicy", env, dataset="runs/cheetah-tasks").learn(100_000)  # doctest: +SKIP
        >>> plain = agent.specialise(context={"speed": 3.5})  # doctest: +SKIP
    """

    learns_offline: ClassVar[bool] = True
    """Whether `learn` leaves the environment alone."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": HyperZeroPolicy,
        "MultiInputPolicy": HyperZeroMultiInputPolicy,
    }
    policy: HyperZeroPolicy

    def __init__(
        self,
        policy: str | type[HyperZeroPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-4,
        *,
        dataset: str | None = None,
        method: str = "hyperzero",
        tasks_per_batch: int = 16,
        rows_per_task: int = 32,
        value_weight: float = 0.01,
        td_weight: float = 0.01,
        kl_weight: float = 0.01,
        gamma: float | None = None,
        context_noise: float = 0.0,
        inner_steps: int = 5,
        inner_rate: float = 0.01,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            supported_action_spaces=(spaces.Box,),
        )
        find_method(method)
        self.dataset = dataset
        self.method = method
        self.tasks_per_batch = int(whole(1, 1e6).check("tasks_per_batch", tasks_per_batch))
        self.rows_per_task = int(whole(1, 1e6).check("rows_per_task", rows_per_task))
        self.weights = objectives.Weights(
            between(0, 1e6).check("value_weight", value_weight),
            between(0, 1e6).check("td_weight", td_weight),
            between(0, 1e6).check("kl_weight", kl_weight),
        )
        self.gamma = None if gamma is None else between(0, 1).check("gamma", gamma)
        self.context_noise = between(0, 1e3).check("context_noise", context_noise)
        self.inner_steps = int(whole(0, 1000).check("inner_steps", inner_steps))
        self.inner_rate = between(0, 1e3).check("inner_rate", inner_rate)
        self._n_updates = 0
        if _init_setup_model:
            self._setup_model()

    _batches: TaskBatches | None = None

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        # Stable-Baselines3 sets a loaded model up when it has its attributes already.
        if not hasattr(self, "_rng"):
            self._rng = np.random.default_rng(self.seed)
        settings = dict(self.policy_kwargs)
        if isinstance(self.observation_space, spaces.Box):
            settings.setdefault("context_size", self._tasks().context_size())
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, method=self.method, **settings
        ).to(self.device)
        self.policy_kwargs = settings

    @property
    def parameter_counts(self) -> dict[str, dict[str, Any]]:
        """What the policy ("actor") and the value function ("critic") are, and how large."""
        return self.policy.networks.sizes

    def check_trainable(self) -> None:
        """Refuse to learn without a data set, or with one of other tasks than the environment's.

        Raises:
            ConfigError: There is no data set, or a batch cannot be drawn from it.
            DatasetError: It is missing or damaged, or of another environment.
            ContextError: Its contexts are of other parameters, order or ranges.
        """
        if self.dataset is None:
            raise ConfigError(
                f"{type(self).__name__} learns from a data set: give dataset, the folder that "
                "hyperrl zero-shot prepare made"
            )
        if self._vec_normalize_env is not None:
            raise ConfigError("HyperZero learns from observations as they are: leave normalize out")
        if self.method == "maml" and self.rows_per_task < 2:
            raise ConfigError("maml halves the rows of a task: rows_per_task must be at least 2")
        if self._batches is not None:
            return
        tasks = self._tasks()
        if self.gamma is None:
            self.gamma = tasks.gamma()
        self._batches = TaskBatches(
            tasks.conditions(),
            tasks.load(self.policy.state_size, self.policy.networks.shape.action),
            self.tasks_per_batch,
            self.rows_per_task,
            noise=self.context_noise,
            device=self.device,
        )

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 10,
        tb_log_name: str = "HyperZero",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Make gradient steps.

        Args:
            total_timesteps: How many.
            callback: A callback, several, or a function; a rollout is a round of ten gradient steps.
            log_interval: Rounds between two records of the logger.
            tb_log_name: Name of the run in TensorBoard.
            reset_num_timesteps: Whether the count of steps starts at zero.
            progress_bar: Whether to show one.
        """
        total, hooks = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        hooks.on_training_start(locals(), globals())
        rounds = 0
        while self.num_timesteps < total:
            hooks.on_rollout_start()
            # A restored run begins elsewhere than this call did.
            steps = min(_ROUND, total - self.num_timesteps)
            if steps <= 0 or not self._announce(steps, hooks):
                break
            hooks.on_rollout_end()
            self._update_current_progress_remaining(self.num_timesteps, total)
            self.train(steps)
            rounds += 1
            if log_interval and rounds % log_interval == 0:
                self.logger.dump(step=self.num_timesteps)
        hooks.on_training_end()
        return self

    def _announce(self, steps: int, hooks: BaseCallback) -> bool:
        """Count steps and tell callbacks of them, as if an environment had made each."""
        assert self._batches is not None
        told: dict[str, Any] = {
            "new_obs": self._last_obs,
            "rewards": np.full(1, self._batches.largest_reward),
            "actions": np.zeros((1, *(self.action_space.shape or ()))),
            "dones": np.zeros(1, dtype=bool),
            "infos": [{} for _ in range(self.n_envs)],
        }
        for _ in range(steps):
            self.num_timesteps += 1
            hooks.update_locals(told)
            if not hooks.on_step():
                return False
        return True

    def train(self, gradient_steps: int) -> None:
        """Make gradient steps on batches of the data set.

        Args:
            gradient_steps: How many.
        """
        self.check_trainable()
        assert self._batches is not None
        self.policy.set_training_mode(True)
        optimizer = self.policy.optimizer
        self._update_learning_rate(optimizer)
        sums: dict[str, torch.Tensor] = {}
        for _ in range(gradient_steps):
            losses = self.losses(self._batches.draw(self._rng))
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            optimizer.step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
        self._n_updates += gradient_steps
        for name, value in sums.items():
            self.logger.record(f"train/{name}", value.item() / gradient_steps)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def losses(self, batch: TaskBatch) -> objectives.Losses:
        """Return the terms of the method's objective on a batch, and "loss", what is minimised.

        Args:
            batch: Tasks and transitions of them.
        """
        method, networks = self.policy.method, self.policy.networks
        if method.objective == "meta":
            return objectives.meta(networks, batch, self.inner_steps, self.inner_rate)
        if method.objective == "inferred":
            assert self.policy.encoder is not None
            return objectives.inferred(networks, self.policy.encoder, batch, self.weights.kl)
        weights = self.weights if method.td else objectives.Weights(self.weights.value, 0.0)
        return objectives.regression(networks, batch, weights, 0.99 if self.gamma is None else self.gamma)

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Give actions, see `HyperZeroPolicy.predict`."""
        return self.policy.predict(observation, state, episode_start, deterministic)

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what decides the next batches, see `hyperrl.run.state`."""
        return {"rng": self._rng.bit_generator.state}

    def restore_checkpoint_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `checkpoint_state` returned."""
        self._rng.bit_generator.state = dict(state["rng"])

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self.check_trainable()
        return super()._setup_learn(*args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_batches"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []
