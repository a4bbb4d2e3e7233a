"""Stable-Baselines3's SAC with policies that refuse what is not finite."""

from __future__ import annotations

from typing import ClassVar

import stable_baselines3
from stable_baselines3.common.policies import BasePolicy

from hyperrl.sb3.policies import FiniteSACCnnPolicy, FiniteSACMultiInputPolicy, FiniteSACPolicy


class SAC(stable_baselines3.SAC):
    """Soft actor-critic (Haarnoja et al., 2018): learns and acts bit by bit as Stable-Baselines3's.

    Only `predict` differs: observations that are not finite are refused, and so are actions.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FiniteSACPolicy,
        "CnnPolicy": FiniteSACCnnPolicy,
        "MultiInputPolicy": FiniteSACMultiInputPolicy,
    }
