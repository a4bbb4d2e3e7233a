"""What compiled off-policy algorithms share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from hyperrl.errors import ConfigError
from hyperrl.sb3.acting import Act, direct_actor
from hyperrl.sb3.compiled_updates import CompiledUpdates
from hyperrl.sb3.device_buffer import DeviceReplayBuffer
from hyperrl.sb3.named_runs import NamedRuns
from hyperrl.sb3.packed_buffer import PackedReplayBuffer
from hyperrl.sb3.plain import SpecialiseMixin

if TYPE_CHECKING:
    from hyperrl.sb3.seeds.update import StackedLearner

# Nobody knows before how long an episode will be.
_STEPS_OF_AN_EPISODE = 1000
_METHODS = {"predict", "_predict", "forward"}


class OffPolicyUpdates(NamedRuns, SpecialiseMixin, CompiledUpdates, OffPolicyAlgorithm):
    """Mixin for off-policy algorithms with compiled updates, see `CompiledUpdates`.

    Transitions of vectors go into a `PackedReplayBuffer`, on a GPU into a `DeviceReplayBuffer`, where no
    other class is asked for. While learning, actors of dense layers act without a module's overhead: the same
    samples, the same actions.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Set while an action is sampled; made anew for another actor.
        self._act: Act | None = None
        self._direct: tuple[torch.nn.Module | None, Act | None] = None, None
        # Set for an agent that is part of a `SeedStack`: brings up to date what the stack counts for it.
        self.write_back: Callable[[], None] | None = None
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        plain = self.replay_buffer_class is None and self.n_steps == 1 and not self.optimize_memory_usage
        # A normaliser wants observations in their own precision.
        plain = plain and self._vec_normalize_env is None
        if plain and PackedReplayBuffer.takes(self.observation_space, self.action_space):
            on_gpu = self.device.type == "cuda"
            self.replay_buffer_class = DeviceReplayBuffer if on_gpu else PackedReplayBuffer
        super()._setup_model()

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Give actions; the arguments are those of Stable-Baselines3's ``predict``.

        Args:
            observation: One observation or a batch of them.
            state: Passed on to Stable-Baselines3.
            episode_start: Passed on to Stable-Baselines3.
            deterministic: Whether to give the mean action rather than to draw one.

        Returns:
            The actions and the next hidden state.

        Raises:
            NonFiniteError: The observation or the action is not finite.
        """
        act = self._act
        if act is not None and isinstance(observation, np.ndarray) and observation.dtype.kind in "biuf":
            with np.errstate(over="ignore"):
                numbers = observation.astype(np.float32)
            # Also what float32 cannot hold is infinite now; the policy itself says what is wrong.
            outputs = act(numbers) if np.isfinite(numbers).all() else numbers
            if np.isfinite(outputs).all():
                actions = outputs.reshape((-1, *(self.action_space.shape or ())))
                return self.policy.unscale_action(actions), None
        return super().predict(observation, state, episode_start, deterministic)

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """Return weights and optimiser states as Stable-Baselines3 does, fit for files.

        Returns:
            State dictionaries by name. Tensors of an agent that is part of a stack of several seeds are
            copied, since torch would write the whole stack.
        """
        if self.write_back is None:
            return super().get_parameters()
        self.write_back()
        return {name: _copied(state) for name, state in super().get_parameters().items()}

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._direct[0] is not self.actor:
            self._direct = self.actor, direct_actor(self.policy)
        # Stable-Baselines3 asks `predict` for the action that it explores from. A method that somebody puts
        # on this very policy can appear at any time.
        self._act = None if _METHODS & vars(self.policy).keys() else self._direct[1]
        try:
            return super()._sample_action(learning_starts, action_noise, n_envs)
        finally:
            self._act = None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_act", "_direct", "write_back"]

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        if self.write_back is not None:
            raise ConfigError(
                "this agent is part of a stack of seeds, which has its transitions: train the stack, or save "
                "the agent and load it"
            )
        return super()._setup_learn(*args, **kwargs)

    def expected_updates(self, total_timesteps: int) -> int:
        """Return about how many updates so many environment steps bring.

        Args:
            total_timesteps: Environment steps, over all environments together.
        """
        steps = max(0, total_timesteps - max(0, self.learning_starts - self.num_timesteps))
        assert isinstance(self.train_freq, TrainFreq)
        return updates_in(steps, self.train_freq, self.gradient_steps, self.n_envs)

    @staticmethod
    def stacked(agents: Sequence[Any], changed: Callable[[], None]) -> StackedLearner:
        """Return what makes the updates of several agents at once; see `hyperrl.SeedStack`.

        Args:
            agents: Agents that are built alike, but for their seeds.
            changed: Called when an agent's tensors were replaced.
        """
        raise NotImplementedError

    def _batch(self, samples: Any, **more: torch.Tensor) -> dict[str, Any]:
        """Return replay samples as the dictionary of tensors that graphs take."""
        discounts = samples.discounts
        if discounts is None:
            discounts = self._constant_discount(samples.rewards)
        return {
            "observations": samples.observations,
            "next_observations": samples.next_observations,
            "actions": samples.actions,
            "rewards": samples.rewards,
            "dones": samples.dones,
            "discounts": discounts,
            **more,
        }

    def _constant_discount(self, like: torch.Tensor) -> torch.Tensor:
        return torch.full((), self.gamma, dtype=like.dtype, device=like.device)


def updates_in(steps: int, train_freq: TrainFreq, gradient_steps: int, n_envs: int) -> int:
    """Return about how many updates are made in so many environment steps.

    Args:
        steps: Steps after the warm-up, over all environments together.
        train_freq: How much is collected between updates.
        gradient_steps: Updates made then; negative for as many as steps were collected.
        n_envs: Number of environments.
    """
    if gradient_steps < 0:
        return steps
    every = train_freq.frequency * n_envs
    if train_freq.unit == TrainFrequencyUnit.EPISODE:
        every *= _STEPS_OF_AN_EPISODE
    return steps * gradient_steps // every


def trained(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters that are not frozen.

    Args:
        network: Any module.
    """
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _copied(tree: Any) -> Any:
    if isinstance(tree, dict):
        # With what else it has: the versions of modules.
        copied = copy.copy(tree)
        copied.update({key: _copied(value) for key, value in tree.items()})
        return copied
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return tree.detach().clone() if isinstance(tree, torch.Tensor) else tree
