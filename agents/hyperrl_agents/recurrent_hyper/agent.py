"""RecurrentHyper: PPO of policies that remember, in trials of several episodes of one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor, nn

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.plain_policy import PlainPolicy
from hyperrl.ranges import whole
from hyperrl.sb3.contexts.extractor import flat_observations
from hyperrl.sb3.contexts.rollout_buffer import FeatureRolloutBuffer
from hyperrl.sb3.meta.trials import START, TrialVecEnv, trials_of
from hyperrl.sb3.named_runs import NamedRuns
from hyperrl.sb3.normalising import OnRawObservations
from hyperrl.sb3.ppo_metrics import means_of
from hyperrl.sb3.rollouts import Act, Rollouts
from hyperrl_agents.recurrent_hyper.adaptation import RecurrentAdaptation
from hyperrl_agents.recurrent_hyper.checks import check_arguments, check_env
from hyperrl_agents.recurrent_hyper.plain import plain_policy_of
from hyperrl_agents.recurrent_hyper.policies import RecurrentHyperPolicy
from hyperrl_agents.recurrent_hyper.returns import TrialReturns
from hyperrl_agents.recurrent_hyper.rollout import Rollout
from hyperrl_agents.recurrent_hyper.settings import ENCODERS
from hyperrl_agents.recurrent_hyper.task_model import TaskModel
from hyperrl_agents.recurrent_hyper.update import policy_loss


class RecurrentHyper(NamedRuns, Rollouts, PPO):
    """PPO of policies with a memory, whose latent generates actor and critic (Beck et al., CoRL 2022, 2023).

    In trials of several episodes of one task, what is learned is to explore the task and then to use what was
    seen. The memory is trained as in RL2 (Duan et al., 2016): by the gradient of PPO's loss through the
    latent; or as in VariBAD (Zintgraf et al., ICLR 2020): by a model that predicts rewards from the latent,
    with an optimiser of its own, and PPO's gradient ends at the latent.

    Environments are put into a `hyperrl.sb3.meta.trials.TrialVecEnv` where they are in none: observations are
    then dicts that hold the last action and reward as well. Contexts are usually hidden; where they are
    visible they are part of the state, and there is nothing to find out.

    Rollouts may begin and end in the middle of a trial: what is remembered goes on, and gradients end where
    the rollout began. A minibatch is of whole sequences, that is of environments.

    Takes the arguments of Stable-Baselines3's `PPO`, but for state-dependent exploration, and:

    Args:
        batch_size: Transitions of a minibatch, a multiple of ``n_steps``; None for a quarter of the
            environments, at least one. More than a rollout has are a whole rollout.
        episodes_per_trial: Episodes of a trial.
        encoder: "rl2" or "varibad".
        discount_across_episodes: Whether returns go on from an episode to the next within a trial and end
            where the trial ends, as published: only then does exploring pay that costs return now. Otherwise
            they end where episodes do. A time limit where returns end is bootstrapped.
        elbo_kwargs: Settings of VariBAD's bound, see `hyperrl_agents.recurrent_hyper.settings.ElboSettings`.

    Raises:
        UnsupportedSpaceError: Actions are discrete, or observations no vectors.
        ConfigError: A setting is wrong, or contradicts another one.
        UnknownNameError: There is no such encoder or setting.

    Example:
        >>> from hyperrl import RecurrentHyper
        >>> model = RecurrentHyper("MlpPolicy", "Pendulum-v1", n_steps=64, policy_kwargs=dict(hidden_size=32))
        >>> model.learn(64).num_timesteps
        64
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": RecurrentHyperPolicy,
        "MultiInputPolicy": RecurrentHyperPolicy,
    }
    policy: RecurrentHyperPolicy

    def __init__(
        self,
        policy: str | type[RecurrentHyperPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 400,
        batch_size: int | None = None,
        n_epochs: int = 2,
        gamma: float = 0.97,
        gae_lambda: float = 0.9,
        clip_range: float | Schedule = 0.1,
        clip_range_vf: float | Schedule | None = None,
        *,
        ent_coef: float = 0.01,
        episodes_per_trial: int = 2,
        encoder: str = "rl2",
        discount_across_episodes: bool = True,
        elbo_kwargs: Mapping[str, Any] | None = None,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if rollout_buffer_class not in (None, FeatureRolloutBuffer):
            raise ConfigError(
                "RecurrentHyper has a rollout buffer of its own: leave rollout_buffer_class out"
            )
        if kwargs.get("use_sde"):
            raise ConfigError("RecurrentHyper has no state-dependent exploration: leave use_sde out")
        self.episodes_per_trial = episodes_per_trial
        self.encoder = encoder
        self.discount_across_episodes = discount_across_episodes
        self.elbo_kwargs = dict(elbo_kwargs or {})
        steps = int(whole(2, 1e6).check("n_steps", n_steps))
        # Stable-Baselines3 would refuse the name MlpPolicy for observations of trials, which are dicts.
        chosen: Any = self.policy_aliases.get(policy, policy) if isinstance(policy, str) else policy
        super().__init__(
            chosen,
            env,
            learning_rate,
            steps,
            # Sequences are what is batched; this one suits any number of environments.
            batch_size=steps,
            n_epochs=n_epochs,
            gamma=gamma,
            gae_lambda=gae_lambda,
            clip_range=clip_range,
            clip_range_vf=clip_range_vf,
            ent_coef=ent_coef,
            rollout_buffer_class=FeatureRolloutBuffer,
            _init_setup_model=False,
            **kwargs,
        )
        self.batch_size = batch_size  # type: ignore[assignment]
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Put environments into trials where they are in none."""
        wrapped = BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        return wrapped if trials_of(wrapped) is not None else TrialVecEnv(wrapped)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Give the agent other environments, see `BaseAlgorithm.set_env`.

        Args:
            env: The environments.
            force_reset: Whether they are reset before the next learning.

        Raises:
            ConfigError: They have trials of another length, or do not fit.
        """
        wrapped = self._wrap_env(env, self.verbose)
        check_env(wrapped, self.episodes_per_trial)
        super().set_env(wrapped, force_reset)

    def _setup_model(self) -> None:
        whole(1, 1e6).check("episodes_per_trial", self.episodes_per_trial)
        if self.encoder not in ENCODERS:
            raise unknown_name("encoder of RecurrentHyper", str(self.encoder), ENCODERS)
        if self.elbo_kwargs and self.encoder != "varibad":
            raise ConfigError(
                f"elbo_kwargs are for encoder='varibad', and this one is {self.encoder!r}: leave them out"
            )
        check_arguments(self.policy_class, self.policy_kwargs, self._of_policy())
        if self.env is not None:
            check_env(self.env, self.episodes_per_trial)
        self.check_trainable()
        self.policy_kwargs = {**self.policy_kwargs, **self._of_policy()}
        super()._setup_model()
        assert isinstance(self.action_space, spaces.Box)
        self._hidden = self.policy.encoder.nothing(self.n_envs)
        self._first_hidden = self._hidden
        self.trial_returns = TrialReturns(self.episodes_per_trial)
        self.task_model = TaskModel(self.policy, self.n_envs) if self.policy.is_varibad else None

    def _of_policy(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "elbo": self.elbo_kwargs}

    def check_trainable(self) -> None:
        """Refuse minibatches that are not of whole sequences.

        Raises:
            ConfigError: ``batch_size`` is no multiple of ``n_steps``.
        """
        if self.batch_size is None:
            return
        size = int(whole(1, 1e9).check("batch_size", self.batch_size))
        if size % self.n_steps and size < self.n_steps * self.n_envs:
            raise ConfigError(
                "minibatches are of whole sequences: batch_size must be a multiple of n_steps = "
                f"{self.n_steps}, got {size}"
            )

    @property
    def sequences_per_batch(self) -> int:
        """Environments of a minibatch."""
        if self.batch_size is None:
            return max(1, self.n_envs // 4)
        return max(1, min(self.n_envs, self.batch_size // self.n_steps))

    @property
    def parameter_counts(self) -> dict[str, dict[str, Any]]:
        """What actor and critic are, and how large: kind, trainable parameters, numbers generated."""
        return self.policy.parameter_counts

    def train(self) -> None:
        """Update the policy on the rollout, minibatch by minibatch, then the model of the task."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        progress = self._current_progress_remaining
        clip_range = float(self.clip_range(progress))  # type: ignore[operator]
        value_range = None if self.clip_range_vf is None else float(self.clip_range_vf(progress))  # type: ignore[operator]
        rollout = self._rollout()
        metrics: list[list[Tensor]] = []
        norms: list[Tensor] = []
        stopped = False
        for _ in range(self.n_epochs):
            metrics.append([])
            for batch in rollout.minibatches(self.sequences_per_batch):
                loss, of_batch = policy_loss(
                    self.policy, batch, clip_range, value_range, self.ent_coef, self.vf_coef
                )
                metrics[-1].append(of_batch)
                if self.target_kl is not None and of_batch[4] > 1.5 * self.target_kl:
                    stopped = True
                    break
                self.policy.optimizer.zero_grad()
                loss.backward()
                norms.append(self._clip_gradients())
                self.policy.optimizer.step()
            self._n_updates += 1
            if stopped:
                break
        self._record(metrics, norms, clip_range, value_range)
        if self.task_model is not None:
            assert self._last_obs is not None
            self.task_model.add(rollout, self._as_array(self._last_obs))
            for name, value in self.task_model.train(rollout).items():
                self.logger.record(f"train/elbo_{name}", value)

    def _rollout(self) -> Rollout:
        buffer, place = self.rollout_buffer, self.policy.columns.places[START].start
        starts = buffer.observations[..., place] > 0
        latents = None
        if self.policy.is_varibad:
            # The memory is not trained by the loss of PPO: once for all epochs.
            features = torch.from_numpy(buffer.observations).to(self.device)
            with torch.no_grad():
                latents = self.policy.latents_of(features, self._first_hidden)
        return Rollout.of(buffer, starts, self._first_hidden, latents, self.normalize_advantage)

    def _clip_gradients(self) -> Tensor:
        """Clip the gradients of actor and critic, and apart from them those of the memory."""
        policy = self.policy
        groups = [[*policy.networks.parameters(), policy.log_std]]
        if not policy.is_varibad:
            groups.append(list(policy.encoder.parameters()))
        clip = nn.utils.clip_grad_norm_
        found = [clip(group, self.max_grad_norm, foreach=True).detach() for group in groups]
        return torch.stack(found)

    def _record(
        self,
        metrics: list[list[Tensor]],
        norms: list[Tensor],
        clip_range: float,
        value_range: float | None,
    ) -> None:
        """Log what Stable-Baselines3 logs, and what is this agent's own."""
        stacked = torch.stack([one for of_epoch in metrics for one in of_epoch])
        means = means_of(stacked, len(metrics[-1]), self.rollout_buffer)
        means["std"] = self.policy.log_std.exp().mean().item()
        means["clip_range"] = clip_range
        if value_range is not None:
            means["clip_range_vf"] = value_range
        if norms:
            names = ("grad_norm_actor_critic", "grad_norm_encoder")
            means.update(zip(names, torch.stack(norms).mean(0).tolist(), strict=False))
        for name, value in means.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for episode, mean in self.trial_returns.take_means().items():
            self.logger.record(f"trials/ep_rew_mean_episode_{episode}", mean)

    def _make_act(self, rollout_buffer: RolloutBuffer) -> Act:
        self._first_hidden = self._hidden
        if self.task_model is not None:
            self.task_model.begin_rollout()

        def act(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            actions, values, log_probs, self._hidden = self.policy.act(features, self._hidden)
            return actions, values, log_probs

        return act

    def _as_array(self, observations: Any) -> NDArray[np.float32]:
        return flat_observations(observations, list(self.policy.columns.keys))

    def _values_of(self, observations: Tensor, environments: NDArray[np.int64]) -> Tensor:
        index = torch.from_numpy(environments).to(self.device)
        with torch.no_grad():
            return self.policy.values_of(observations.to(self.device), self._hidden[index])

    def _bootstrap_time_limits(
        self, rewards: NDArray[Any], dones: NDArray[Any], infos: list[dict[str, Any]]
    ) -> None:
        """Add to the last reward where returns end at a time limit what would have come after it."""
        over = np.flatnonzero(dones)
        if not len(over):
            return
        self.trial_returns.step(infos, dones)
        told = [infos[index]["terminal_observation"] for index in over]
        last = self._as_array({key: np.stack([one[key] for one in told]) for key in told[0]})
        if self.task_model is not None:
            self.task_model.end_episodes(self.rollout_buffer.pos, over, last)
        ends = self._ends(dones, infos)
        cut = [ends[index] and infos[index].get("TimeLimit.truncated", False) for index in over]
        if any(cut):
            rows, envs = last[cut], over[cut]
            rewards[envs] += self.gamma * self._values_of(torch.from_numpy(rows), envs).cpu().numpy()[:, 0]

    def _ends(self, dones: NDArray[Any], infos: list[dict[str, Any]]) -> NDArray[Any]:
        if not self.discount_across_episodes:
            return dones
        return np.array(
            [bool(done) and info["trial"]["over"] for done, info in zip(dones, infos, strict=True)]
        )

    def normalised(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Return observations of trials as the agent was trained on them.

        Args:
            observation: One observation or a batch, as the environment gives them.
        """
        normalised: dict[str, Any] = OnRawObservations(self).normalised(observation)
        return normalised

    def adaptation(self, contexts: NDArray[np.float64]) -> RecurrentAdaptation:
        """Begin to adapt to tasks, by remembering them.

        Args:
            contexts: The tasks; only their number matters, shape [n, d].

        Raises:
            ConfigError: There is none.
        """
        whole(1, 1e9).check("the number of tasks", len(contexts))
        return RecurrentAdaptation(self, len(contexts))

    def specialise(
        self, latent: ArrayLike | None = None, *, vec_normalize: VecNormalize | None = None
    ) -> PlainPolicy:
        """Return the policy that a latent stands for as a plain policy of the state, without a memory.

        Args:
            latent: As actor and critic see it, ``[2 z]``, see `RecurrentHyperPolicy.latent`.
            vec_normalize: What normalises its observations; None takes that of the agent's environment.

        Raises:
            ExportError: There is no latent, or it is of another size.
            UnsupportedSpaceError: Observations are more than one vector.
            NonFiniteError: A weight is NaN or infinite.
        """
        return plain_policy_of(self, latent, vec_normalize)

    def begin_episodes(self) -> None:
        """Forget: new episodes begin in all environments."""
        self._hidden = self.policy.encoder.nothing(self.n_envs)

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what the agent remembers beside its weights, see `hyperrl.run.state`."""
        state = {"hidden": self._hidden.cpu().clone(), "returns": self.trial_returns.state()}
        return state if self.task_model is None else {**state, "trials": self.task_model.trials.state()}

    def restore_checkpoint_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What `checkpoint_state` returned.
        """
        self._hidden = state["hidden"].to(self.device)
        self.trial_returns.restore(state["returns"])
        if self.task_model is not None:
            self.task_model.trials.restore(state["trials"])

    def _excluded_save_params(self) -> list[str]:
        own = super()._excluded_save_params()
        return [*own, "_hidden", "_first_hidden", "trial_returns", "task_model"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, *(["policy.elbo_optimizer"] if self.policy.is_varibad else [])], variables
