"""The names that runs have in TensorBoard."""

from __future__ import annotations

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback

_OF_THE_BASES = ("PPO", "SAC", "TD3")


class NamedRuns(BaseAlgorithm):
    """Mixin by which a run has the name of its algorithm's own class, unless `learn` is given another.

    Stable-Baselines3's `learn` has the name of the algorithm that was subclassed as a default.
    """

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        name = type(self).__name__ if tb_log_name in _OF_THE_BASES else tb_log_name
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, name, progress_bar)
