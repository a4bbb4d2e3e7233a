"""Everything that extends Stable-Baselines3's shared parts: critics, policies, learning rates."""

from hyperrl.sb3.critic_config import (
    COMPACT,
    CRITICS,
    FAST,
    PAPER,
    SAC_CRITICS,
    HyperCriticConfig,
    critic_config,
)
from hyperrl.sb3.critics import HyperContinuousCritic, HyperQ
from hyperrl.sb3.finite import FinitePredictMixin
from hyperrl.sb3.policies import (
    HyperSACCnnPolicy,
    HyperSACMultiInputPolicy,
    HyperSACPolicy,
    HyperTD3CnnPolicy,
    HyperTD3MultiInputPolicy,
    HyperTD3Policy,
)

__all__ = [
    "COMPACT",
    "CRITICS",
    "FAST",
    "PAPER",
    "SAC_CRITICS",
    "FinitePredictMixin",
    "HyperContinuousCritic",
    "HyperCriticConfig",
    "HyperQ",
    "HyperSACCnnPolicy",
    "HyperSACMultiInputPolicy",
    "HyperSACPolicy",
    "HyperTD3CnnPolicy",
    "HyperTD3MultiInputPolicy",
    "HyperTD3Policy",
    "critic_config",
]
