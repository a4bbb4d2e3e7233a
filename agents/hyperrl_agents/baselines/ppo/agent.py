"""Stable-Baselines3's PPO with policies that refuse what is not finite."""

from __future__ import annotations

from typing import ClassVar

import stable_baselines3
from stable_baselines3.common.policies import BasePolicy

from hyperrl.sb3.policies import FinitePPOCnnPolicy, FinitePPOMultiInputPolicy, FinitePPOPolicy


class PPO(stable_baselines3.PPO):
    """Proximal policy optimisation (Schulman et al., 2017), bit by bit as in Stable-Baselines3.

    Only `predict` differs: observations that are not finite are refused, and so are actions.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FinitePPOPolicy,
        "CnnPolicy": FinitePPOCnnPolicy,
        "MultiInputPolicy": FinitePPOMultiInputPolicy,
    }
