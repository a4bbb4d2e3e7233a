"""HyperPEARL with the verbs of Stable-Baselines3: it visits tasks, infers them, learns for all."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from hyperrl.errors import ConfigError, ContextError
from hyperrl.ranges import above, between, whole
from hyperrl.sb3.contexts.observed import Observed, attribute
from hyperrl.sb3.meta.choices import check_policy_kwargs
from hyperrl.sb3.named_runs import NamedRuns
from hyperrl_agents.hyper_pearl.learner import LearnerMixin
from hyperrl_agents.hyper_pearl.networks import HyperPolicy, HyperValue
from hyperrl_agents.hyper_pearl.policies import HyperPEARLMultiInputPolicy, HyperPEARLPolicy
from hyperrl_agents.hyper_pearl.replay import TaskReplay
from hyperrl_agents.hyper_pearl.update import Weights


class HyperPEARL(NamedRuns, LearnerMixin):
    """PEARL (Rakelly et al., ICML 2019) with the generated networks of HypeRL (Sarafian et al., ICML 2021).

    An encoder infers a task from a few of its transitions as a Gaussian over a latent; the latent generates
    the policy, states generate the value functions of latent and action. Learning is off-policy, as in the
    first SAC. Tasks of training come from a finite pool; the data of each are kept apart.

    At first each task is played for `initial_steps`. Then, over and over: some tasks are visited, of which
    the encoder forgets what it had seen, and `gradient_steps` are made on batches of all tasks. A rollout, of
    which callbacks are told, is one such visit.

    Args:
        policy: "MlpPolicy" for vectors, "MultiInputPolicy" for dicts.
        env: The environments, contextual, with finitely many tasks of training.
        learning_rate: Of the policy.
        critic_learning_rate: Of Q and V.
        encoder_learning_rate: Of the encoder.
        buffer_size: Transitions that are kept, of all tasks together.
        batch_size: Transitions of each task in a batch.
        meta_batch_size: Tasks of a batch, drawn with replacement.
        context_batch_size: Transitions that a task is inferred from.
        tau: Weight of V in its target's moving average.
        gamma: Discount.
        reward_scale: Factor of rewards, one over the temperature of the entropy.
        kl_weight: Weight of the posterior's divergence from the prior, a sum over the tasks of a batch.
        mean_weight: Weight of the L2 term of the policy's means.
        log_std_weight: Weight of that of its log-standard deviations.
        initial_steps: Steps of each task before learning begins, by latents of the prior.
        tasks_per_iteration: Tasks of a visit; all where there are fewer.
        prior_steps: Steps of a visited task by latents of the prior, which the encoder sees.
        posterior_steps: Steps after them by latents of the posterior, which the encoder sees.
        extra_steps: Steps after them by latents of the posterior, only to learn from.
        gradient_steps: Gradient steps after each visit.
        exploration_episodes: Episodes of a new task that `adaptation` plays by latents of the prior.
        infer: "posterior"; or "oracle", where observations tell the context and nothing is inferred.
        policy_kwargs: See `HyperPEARLPolicy`.
        stats_window_size: As in Stable-Baselines3.
        tensorboard_log: As in Stable-Baselines3.
        verbose: As in Stable-Baselines3.
        seed: Seed of weights, tasks, batches, latents and actions.
        device: Where the networks run.

    Attributes:
        replay_buffer: The transitions of all tasks.

    Raises:
        ConfigError: A number is out of range, or the context is seen and must not be, or the reverse.
        UnknownNameError: A name is unknown.

    Example:
        >>> from hyperrl import HyperPEARL
        >>> model = HyperPEARL("MlpPolicy", env).learn(100_000)  # doctest: +SKIP
        >>> adaptation = model.adaptation(test_contexts)  # doctest: +SKIP
    """

    learns_tasks: ClassVar[bool] = True
    """Whether it needs environments with contexts."""

    steps_per_row: ClassVar[int] = 1
    """Counted steps for each row of the replay buffer: those that are thrown away do not count."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": HyperPEARLPolicy,
        "MultiInputPolicy": HyperPEARLMultiInputPolicy,
    }
    policy: HyperPEARLPolicy

    def __init__(
        self,
        policy: str | type[HyperPEARLPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-4,
        critic_learning_rate: float | Schedule = 5e-5,
        encoder_learning_rate: float | Schedule = 3e-4,
        buffer_size: int = 1_000_000,
        batch_size: int = 256,
        meta_batch_size: int = 4,
        context_batch_size: int = 64,
        tau: float = 0.005,
        gamma: float = 0.99,
        reward_scale: float = 5.0,
        kl_weight: float = 0.1,
        mean_weight: float = 1e-3,
        log_std_weight: float = 1e-3,
        initial_steps: int = 2000,
        tasks_per_iteration: int = 5,
        prior_steps: int = 400,
        posterior_steps: int = 0,
        extra_steps: int = 600,
        gradient_steps: int = 2000,
        exploration_episodes: int = 2,
        infer: str = "posterior",
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

        def count(name: str, value: int, least: int = 1) -> int:
            return int(whole(least, 1e9).check(name, value))

        self.critic_learning_rate, self.encoder_learning_rate = critic_learning_rate, encoder_learning_rate
        self.buffer_size = count("buffer_size", buffer_size)
        self.batch_size = count("batch_size", batch_size)
        self.meta_batch_size = count("meta_batch_size", meta_batch_size)
        self.context_batch_size = count("context_batch_size", context_batch_size)
        self.tau = above(0, 1).check("tau", tau)
        self.gamma = above(0, 1).check("gamma", gamma)
        self.weights = Weights(
            self.gamma,
            above(0, 1e9).check("reward_scale", reward_scale),
            between(0, 1e9).check("kl_weight", kl_weight),
            between(0, 1e9).check("mean_weight", mean_weight),
            between(0, 1e9).check("log_std_weight", log_std_weight),
        )
        self.initial_steps = count("initial_steps", initial_steps)
        self.tasks_per_iteration = count("tasks_per_iteration", tasks_per_iteration)
        self.prior_steps = count("prior_steps", prior_steps)
        self.posterior_steps = count("posterior_steps", posterior_steps, 0)
        self.extra_steps = count("extra_steps", extra_steps, 0)
        self.gradient_steps = count("gradient_steps", gradient_steps)
        self.exploration_episodes = count("exploration_episodes", exploration_episodes, 0)
        self.infer = infer
        self._n_updates = 0
        self._iterations = 0
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        # Stable-Baselines3 sets a loaded model up when it has its attributes already.
        if not hasattr(self, "_rng"):
            self._rng = np.random.default_rng(self.seed)
        check_policy_kwargs(self.policy_class, self.policy_kwargs)
        if self.policy_kwargs.get("infer", self.infer) != self.infer:
            raise ConfigError("infer is an argument of HyperPEARL, not of its policy_kwargs")
        settings = {name: value for name, value in self.policy_kwargs.items() if name != "infer"}
        if self.env is not None:
            found = Observed.of_env(self.env)
            if settings.get("contexts") is not None:
                Observed.from_plain(settings["contexts"]).check_same(found)
            settings["contexts"] = found.to_plain()
        self.policy_kwargs = settings
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, infer=self.infer, **settings
        ).to(self.device)
        splits = None if self.env is None else attribute(self.env, "splits")
        self._pool = getattr(splits, "points", None)
        assert isinstance(self.action_space, spaces.Box)
        self.replay_buffer = TaskReplay(
            self.buffer_size,
            self.policy.state_size,
            self.action_space,
            1 if self._pool is None else len(self._pool),
            self.device,
        )

    @property
    def parameter_counts(self) -> dict[str, dict[str, Any]]:
        """What the policy ("actor"), a Q-function ("critic") and V ("value") are, and how large."""
        parts = {"actor": self.policy.actor, "critic": self.policy.q1, "value": self.policy.v}
        shape = self.policy.shape
        return {
            name: {
                "kind": shape.kind,
                "hidden": list(shape.hidden),
                "trainable": sum(parameter.numel() for parameter in part.parameters()),
                "generated": part.hyper.n_generated() if isinstance(part, HyperPolicy | HyperValue) else 0,
            }
            for name, part in parts.items()
        }

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Give the agent other environments, see `BaseAlgorithm.set_env`.

        Args:
            env: The environments.
            force_reset: Whether they are reset before the next learning.

        Raises:
            ContextError: Their contexts mean something else, or they have other tasks than the data.
        """
        wrapped = self._wrap_env(env, self.verbose)
        self.observed.check_same(Observed.of_env(wrapped))
        pool = getattr(attribute(wrapped, "splits"), "points", None)
        if not _same_tasks(self._pool, pool):
            if self.replay_buffer.size():
                raise ContextError(
                    "the agent has data of other tasks than these environments have: give it those that "
                    "it was trained on, or load it without its data"
                )
            self._pool = pool
            assert isinstance(self.action_space, spaces.Box)
            tasks = 1 if pool is None else len(pool)
            size = self.policy.state_size
            self.replay_buffer = TaskReplay(self.buffer_size, size, self.action_space, tasks, self.device)
        super().set_env(wrapped, force_reset)
        self._collector = None

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "HyperPEARL",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn until so many environment steps were made, the last visit as a whole.

        Args:
            total_timesteps: How many. Steps of episodes that nobody learns from are not counted.
            callback: A callback, several, or a function; a rollout is a visit of a few tasks.
            log_interval: Rollouts between two records of the logger.
            tb_log_name: Name of the run in TensorBoard.
            reset_num_timesteps: Whether the count of steps starts at zero.
            progress_bar: Whether to show one.

        Raises:
            HyperRLError: As `check_trainable` and `check_steps`.
        """
        self.check_steps(total_timesteps)
        total, hooks = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        hooks.on_training_start(locals(), globals())
        while self.num_timesteps < total:
            hooks.on_rollout_start()
            # A restored run begins elsewhere than this call did.
            waiting = self.replay_buffer.without_context()
            if self.num_timesteps >= total or not self._roll_out(waiting, hooks):
                break
            hooks.on_rollout_end()
            self._update_current_progress_remaining(self.num_timesteps, total)
            if not len(waiting):
                self.train(self.gradient_steps)
            self._iterations += 1
            if log_interval and self._iterations % log_interval == 0:
                self._dump()
        hooks.on_training_end()
        return self

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_collector"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", *(f"policy.{name}_optimizer" for name in self.policy.optimizers)], []


def _same_tasks(first: NDArray[np.float64] | None, second: NDArray[np.float64] | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)
