"""Several seeds of one agent trained at once: one graph for their updates, one batch of environments."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import MaybeCallback, RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.errors import ConfigError
from hyperrl.sb3.compiled_updates import COMPILING
from hyperrl.sb3.device_buffer import DeviceReplayBuffer
from hyperrl.sb3.off_policy import OffPolicyUpdates, updates_in
from hyperrl.sb3.seeds.acting import StackedActing
from hyperrl.sb3.seeds.checks import checked_seeds, refuse, sigma_of
from hyperrl.sb3.seeds.parts import StackedPolicies, optimizers_of, place_of, seed_environments
from hyperrl.sb3.seeds.streams import UpdateStreams
from hyperrl.sb3.seeds.update import StackedUpdate


class SeedStack(OffPolicyAlgorithm):
    """Trains several seeds of an off-policy agent at once, as Stable-Baselines3 would train each.

    Each seed has its own networks, optimisers, environments, transitions and random numbers, which do not
    depend on the other seeds; only the arithmetic is done together. It pays where one agent's gradient step
    keeps no processor busy: on a GPU. There, everything stays on the device, one step of all seeds is one
    CUDA graph, and environments are stepped while it runs.

    `agents` are ordinary agents whose weights are those of the stack at any moment: look at them, let them
    act, save them. The stack itself has no file format.

    Steps are those of each seed: `learn(100_000)` with 8 seeds and 8 environments makes 100,000 steps in
    each environment.

    Args:
        agent_class: `HyperTD3`, `HyperSAC`, `CompiledTD3` or `CompiledSAC`, or a subclass of one.
        policy: The policy of each agent, as its constructor takes it.
        env: Environments with vectors as observations, the same number for each seed: those of the first
            seed come first.
        seeds: The seeds, one for each agent.
        device: Where the networks run.
        overlap: Whether actions are asked for before the updates of the step are made, so that environments
            are stepped meanwhile; a step's actions are then those of the networks one update earlier. None
            does so on a GPU.
        verbose: As in Stable-Baselines3.
        tensorboard_log: As in Stable-Baselines3.
        **kwargs: Arguments of each agent.

    Attributes:
        agents: The agents, in the order of the seeds.
        seeds: Their seeds.

    Raises:
        ConfigError: The agents cannot be stacked; the sentence says what is in the way.
        HyperRLError: The agents refuse their arguments.
    """

    def __init__(
        self,
        agent_class: type[OffPolicyUpdates],
        policy: str | type[BasePolicy],
        env: VecEnv,
        seeds: Sequence[int],
        *,
        device: torch.device | str = "auto",
        overlap: bool | None = None,
        verbose: int = 0,
        tensorboard_log: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.seeds = checked_seeds(agent_class, env, seeds, device)
        buffer_size = kwargs.pop("buffer_size", 1_000_000)
        self.agents = [
            agent_class(policy, env, seed=seed, device=device, buffer_size=1, **copy.deepcopy(kwargs))
            for seed in self.seeds
        ]
        first = self._one = self.agents[0]
        refuse(self.agents)
        for agent in self.agents:
            # The stack has all transitions. An agent that is saved and loaded has a buffer again.
            agent.replay_buffer, agent.buffer_size = None, buffer_size
            agent.write_back = self._write_back
        self._updates: StackedUpdate
        super().__init__(
            policy=first.policy_class,
            env=env,
            learning_rate=first.learning_rate,
            buffer_size=buffer_size,
            learning_starts=first.learning_starts,
            batch_size=first.batch_size,
            tau=first.tau,
            gamma=first.gamma,
            train_freq=first.train_freq,
            gradient_steps=first.gradient_steps,
            replay_buffer_class=DeviceReplayBuffer,
            replay_buffer_kwargs=first.replay_buffer_kwargs,
            stats_window_size=first._stats_window_size,
            verbose=verbose,
            tensorboard_log=tensorboard_log,
            device=device,
            support_multi_env=True,
            seed=self.seeds[0],
            sde_support=False,
        )
        self._overlap = self.device.type == "cuda" if overlap is None else overlap
        self._n_updates = 0
        self._auto: bool | None = None
        # What a warning of exploding values takes into account.
        self.target_entropy: Any = getattr(first, "target_entropy", None)
        self._setup_model()

    @property
    def envs_per_seed(self) -> int:
        """How many environments each seed has."""
        return self.n_envs // len(self.seeds)

    @property
    def steps_per_row(self) -> int:
        """How many steps a row of the replay buffer stands for."""
        return self.envs_per_seed

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], None]:
        """Give actions, each seed those for its own part of the observations.

        Args:
            observation: ``[S N, O]``, the N observations of the first seed first.
            state: Ignored.
            episode_start: Ignored.
            deterministic: Whether to give the best action rather than to draw one.

        Returns:
            The actions ``[S N, A]``, and None.

        Raises:
            ShapeError: The observations cannot be shared out among the seeds.
            NonFiniteError: An observation or action is not finite.
        """
        actions = self._acting.act(self._updates.act_plainly, np.asarray(observation), deterministic)
        return self.policy.unscale_action(actions), None

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Update all seeds.

        Args:
            gradient_steps: Number of updates.
            batch_size: Transitions per update and seed.
        """
        self._update_learning_rate(optimizers_of(self._one))
        with self._one._in_precision():
            self._updates.refresh()
            if self._overlap:
                assert isinstance(self._last_obs, np.ndarray)
                self._acting.ask(self._updates.act, self._last_obs)
            for step in range(gradient_steps):
                self._n_updates += 1
                self._updates.step(self._n_updates, step)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: ReplayBuffer,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Step all environments, counting the steps of each seed; as in Stable-Baselines3 otherwise."""
        callback.on_rollout_start()
        episodes = 0
        for collected in range(1, train_freq.frequency + 1):
            actions, buffer_actions = self._sample_action(learning_starts)
            new_obs, rewards, dones, infos = env.step(actions)
            self.num_timesteps += self.envs_per_seed
            # Callbacks look at these local variables by Stable-Baselines3's names.
            callback.update_locals(locals())
            if not callback.on_step():
                return RolloutReturn(collected * self.envs_per_seed, episodes, continue_training=False)
            self._update_info_buffer(infos, dones)
            self._store_transition(replay_buffer, buffer_actions, new_obs, rewards, dones, infos)  # type: ignore[arg-type]
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            for _ in range(int(np.sum(dones))):
                episodes += 1
                self._episode_num += 1
                if log_interval is not None and self._episode_num % log_interval == 0:
                    self.dump_logs()
        callback.on_rollout_end()
        return RolloutReturn(train_freq.frequency * self.envs_per_seed, episodes, continue_training=True)

    def dump_logs(self) -> None:
        """Write the log; losses are means over the seeds and the updates since the last time."""
        self.record_losses(begin_anew=True)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        super().dump_logs()

    def record_losses(self, begin_anew: bool = False) -> None:
        """Record the losses so far, as means over the seeds and over the updates since the last log.

        Args:
            begin_anew: Whether the means begin anew.
        """
        for name, value in self._updates.losses(begin_anew).items():
            self.logger.record(f"train/{name}", value.mean().item())

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "SeedStack",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train; the arguments are those of Stable-Baselines3's ``learn``.

        Args:
            total_timesteps: Environment steps of each seed.
            callback: A callback, several, or a function.
            log_interval: Episodes, of all seeds together, between two records of the logger.
            tb_log_name: Name of the run in TensorBoard.
            reset_num_timesteps: Whether the count of steps starts at zero.
            progress_bar: Whether to show one.
        """
        if reset_num_timesteps:
            self.num_timesteps = 0
        if self._auto is None or reset_num_timesteps:
            self._auto = self._one.compiles(self._expected_updates(total_timesteps))
        if self._auto and not self._updates.compiled:
            print(COMPILING, file=sys.stderr)
        self.make_updates(self._auto)
        if reset_num_timesteps:
            # New episodes begin: what was asked for was for other observations.
            self._acting.forget()
        try:
            super().learn(
                total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
            )
        finally:
            self._write_back()
        return self

    def make_updates(self, compiled: bool) -> None:
        """Decide whether updates are compiled; `learn` does so by itself.

        Args:
            compiled: Whether they are.
        """
        buffer = self.replay_buffer
        assert isinstance(buffer, DeviceReplayBuffer)
        made = getattr(self, "_updates", None)
        # Graphs take long to make.
        if made is None or made.compiled != compiled or made.buffer is not buffer:
            self._updates = StackedUpdate(self._learner, buffer, self._streams, self.gamma, compiled)
            self._updates.refresh()
            self._rebind()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Not there: a stack is saved seed by seed.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "a stack of seeds has no file of its own: save its agents, for example "
            "stack.agents[0].save('seed-0.zip')"
        )

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what `hyperrl.run.state` does not find by itself."""
        return {
            "acting": self._acting.state(),
            "updates": self._streams.state(),
            "compiled": self._updates.compiled,
        }

    def restore_checkpoint_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `checkpoint_state` returned.

        Args:
            state: The state.
        """
        self._acting.restore(state["acting"])
        self._streams.restore(state["updates"])
        # A run that was made longer goes on as it began.
        self._auto = bool(state["compiled"])
        self.make_updates(self._auto)

    def begin_episodes(self) -> None:
        """Let go of actions for observations of episodes that are no more."""
        self._acting.forget()

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Train on other environments; as in Stable-Baselines3.

        Args:
            env: As many environments as before.
            force_reset: Whether new episodes begin.
        """
        super().set_env(env, force_reset)
        if force_reset:
            self.begin_episodes()

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the process, and each environment by its own seed.

        Args:
            seed: Seed of the process's random generators, which a stack itself does not draw from.
        """
        super().set_random_seed(seed)
        if self.env is not None:
            seed_environments(self.env, self.seeds)

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self._convert_train_freq()
        policies = [agent.policy for agent in self.agents]
        self.policy = StackedPolicies(self.observation_space, self.action_space, policies)
        # Stable-Baselines3 shares a size out among all environments, and this is the size of each seed.
        self.replay_buffer = DeviceReplayBuffer(
            self.buffer_size * len(self.seeds),
            self.observation_space,
            self.action_space,
            device=self.device,
            n_envs=self.n_envs,
            **self.replay_buffer_kwargs,
        )
        self._learner = self._one.stacked(self.agents, self._rebind)
        size = get_action_dim(self.action_space)
        sigma = sigma_of(self._one.action_noise)
        observed = int(np.prod(self.observation_space.shape or ()))
        self._acting = StackedActing(self.seeds, observed, size, self._learner.draws, sigma, self.device)
        self._streams = UpdateStreams(self.seeds, self.batch_size, self._learner.noise, size, self.device)
        for index, agent in enumerate(self.agents):
            # Under names of their own, by which checkpoints find them.
            for name in (name for names in agent._get_torch_save_params() for name in names):
                if "." not in name and name != "policy":
                    setattr(self, place_of(index, name), getattr(agent, name))
        self.make_updates(compiled=False)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.num_timesteps < learning_starts:
            scaled = self._acting.random(self.envs_per_seed)
        else:
            assert isinstance(self._last_obs, np.ndarray)
            with self._one._in_precision():
                scaled = self._acting.explore(self._updates.act, self._last_obs)
        return self.policy.unscale_action(scaled), scaled

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        # Whoever asks wants to save what the optimisers have counted.
        self._write_back()
        modules, variables = ["policy"], []
        for index, agent in enumerate(self.agents):
            own_modules, own_variables = agent._get_torch_save_params()
            modules += [place_of(index, name) for name in own_modules if name != "policy"]
            variables += [place_of(index, name) for name in own_variables]
        return modules, variables

    def _expected_updates(self, total_timesteps: int) -> int:
        """Return about how many updates so many steps of each seed bring."""
        steps = max(0, total_timesteps - max(0, self.learning_starts - self.num_timesteps))
        assert isinstance(self.train_freq, TrainFreq)
        return updates_in(steps, self.train_freq, self.gradient_steps, self.envs_per_seed)

    def _write_back(self) -> None:
        """Tell the agents what the stack counts for them."""
        self._learner.tensors.write_back()
        for agent in self.agents:
            agent.num_timesteps, agent._n_updates = self.num_timesteps, self._n_updates
            agent._episode_num = self._episode_num // len(self.agents)

    def _rebind(self) -> None:
        if hasattr(self, "_updates"):
            self._updates.rebind()
