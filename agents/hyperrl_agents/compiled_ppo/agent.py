"""CompiledPPO: Stable-Baselines3's PPO with a minibatch update and acting that can be compiled as a whole."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from hyperrl.sb3.named_runs import NamedRuns
from hyperrl.sb3.obstacles import obstacle
from hyperrl.sb3.plain import SpecialiseMixin
from hyperrl.sb3.policies import FinitePPOCnnPolicy, FinitePPOMultiInputPolicy, FinitePPOPolicy
from hyperrl.sb3.ppo_metrics import METRICS, means_of
from hyperrl_agents.compiled_ppo.acting import GaussianActing
from hyperrl_agents.compiled_ppo.rollouts import CompiledRollouts
from hyperrl_agents.compiled_ppo.update import PPOUpdate


class CompiledPPO(NamedRuns, SpecialiseMixin, CompiledRollouts, PPO):
    """Proximal policy optimisation (Schulman et al., 2017), its minibatch update and acting one graph each.

    Takes the arguments of Stable-Baselines3's `PPO`, and ``compile`` and ``precision`` of
    `hyperrl.sb3.compiled_updates.CompiledUpdates`. It learns what Stable-Baselines3's learns, up to rounding;
    where nothing is compiled, it runs Stable-Baselines3's own code.

    Example:
        >>> from hyperrl import CompiledPPO
        >>> model = CompiledPPO("MlpPolicy", "Pendulum-v1", compile=False)
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FinitePPOPolicy,
        "CnnPolicy": FinitePPOCnnPolicy,
        "MultiInputPolicy": FinitePPOMultiInputPolicy,
    }

    def expected_updates(self, total_timesteps: int) -> int:
        """Return how many updates so many environment steps bring, if none is stopped early.

        Args:
            total_timesteps: Environment steps, over all environments together.
        """
        size = self.n_steps * self.n_envs
        return math.ceil(total_timesteps / size) * self.n_epochs * math.ceil(size / self.batch_size)

    def train(self) -> None:
        """Update the policy on the rollout, epoch by epoch and minibatch by minibatch."""
        self._update_learning_rate(self.policy.optimizer)
        compiled = self._updates()
        with self._in_precision():
            drawn = np.random.get_state()
            if not self._attempt(compiled, lambda: self._train_compiled(compiled.update)):
                np.random.set_state(drawn)
                super().train()

    def _train_compiled(self, update: PPOUpdate) -> bool:
        """Do what `PPO.train` does, with the same random numbers.

        Returns:
            True, for it was done.
        """
        self.policy.set_training_mode(True)
        settings = self._settings()
        update.load(self.rollout_buffer, settings)
        size = self.rollout_buffer.buffer_size * self.rollout_buffer.n_envs
        metrics: list[Tensor] = []
        for epoch in range(self.n_epochs):
            rows = torch.from_numpy(np.random.permutation(size)).to(self.device)
            of_epoch, stopped = update.epoch(rows)
            metrics += of_epoch
            self._n_updates += 1
            if stopped:
                if self.verbose >= 1:
                    divergence = metrics[-1][METRICS.index("approx_kl")].item()
                    print(f"Early stopping at step {epoch} due to reaching max kl: {divergence:.2f}")
                break
        self._record(torch.stack(metrics), len(of_epoch), settings)
        return True

    def _settings(self) -> dict[str, float]:
        """Return the numbers that hold for one rollout's updates."""
        progress = self._current_progress_remaining
        settings = {
            "clip_range": float(self.clip_range(progress)),  # type: ignore[operator]
            "ent_coef": float(self.ent_coef),
            "vf_coef": float(self.vf_coef),
            "max_grad_norm": float(self.max_grad_norm),
        }
        if self.clip_range_vf is not None:
            settings["clip_range_vf"] = float(self.clip_range_vf(progress))  # type: ignore[operator]
        if self.target_kl is not None:
            settings["largest_kl"] = 1.5 * self.target_kl
        return settings

    def _record(self, metrics: Tensor, last: int, settings: dict[str, float]) -> None:
        """Log what Stable-Baselines3 logs.

        Args:
            metrics: The `METRICS` of all minibatches, ``[M, 6]``.
            last: Number of minibatches in the last epoch.
            settings: What `_settings` returned.
        """
        means = means_of(metrics, last, self.rollout_buffer)
        if hasattr(self.policy, "log_std"):
            means["std"] = self.policy.log_std.exp().mean().item()
        for name in ("clip_range", "clip_range_vf"):
            if name in settings:
                means[name] = settings[name]
        for name, value in means.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _acting(self) -> GaussianActing | None:
        compiled = self._updates()
        return None if compiled is None else compiled.acting

    def _make_compiled(self) -> _Graphs:
        return _Graphs(self)

    def _constants(self) -> tuple[Any, ...]:
        clips_values, stops = self.clip_range_vf is not None, self.target_kl is not None
        return self.normalize_advantage, clips_values, stops, self.batch_size, self.n_steps, self.n_envs

    def _why_not_compiled(self) -> str | None:
        if self.use_sde:
            return "state-dependent exploration draws its noise inside the policy"
        if type(self.rollout_buffer) not in (RolloutBuffer, DictRolloutBuffer):
            return f"the rollout buffer is a {type(self.rollout_buffer).__name__} with ways of its own"
        return obstacle({"policy": self.policy}, {"policy": self.policy.optimizer})


class _Graphs:
    """The update and, where it can be compiled, the acting, on the same parameters.

    Args:
        agent: The agent.
    """

    def __init__(self, agent: CompiledPPO) -> None:
        self.update = PPOUpdate(agent)
        self.acting = GaussianActing(agent) if GaussianActing.why_not(agent) is None else None

    def refresh(self) -> None:
        """Take over learning rates, and tensors that were replaced."""
        self.update.tensors.refresh()
        if self.acting is not None:
            self.acting.bind(self.update.tensors)
