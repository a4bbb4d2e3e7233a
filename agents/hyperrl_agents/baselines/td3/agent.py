"""Stable-Baselines3's TD3 with policies that refuse what is not finite."""

from __future__ import annotations

from typing import ClassVar

import stable_baselines3
from stable_baselines3.common.policies import BasePolicy

from hyperrl.sb3.policies import FiniteTD3CnnPolicy, FiniteTD3MultiInputPolicy, FiniteTD3Policy


class TD3(stable_baselines3.TD3):
    """Twin delayed DDPG (Fujimoto et al., 2018): learns and acts bit by bit as Stable-Baselines3's.

    Only `predict` differs: observations that are not finite are refused, and so are actions.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FiniteTD3Policy,
        "CnnPolicy": FiniteTD3CnnPolicy,
        "MultiInputPolicy": FiniteTD3MultiInputPolicy,
    }
