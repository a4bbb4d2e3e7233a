"""Stable-Baselines3's TD3 with policies that refuse what is not finite."""

from __future__ import annotations

from typing import ClassVar

import stable_baselines3
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.td3.policies import CnnPolicy, MultiInputPolicy, TD3Policy

from hyperrl.sb3.finite import FinitePredictMixin


class FiniteTD3Policy(FinitePredictMixin, TD3Policy):
    """TD3's policy that neither takes nor gives NaN and infinity."""


class FiniteTD3CnnPolicy(FinitePredictMixin, CnnPolicy):
    """The same for images."""


class FiniteTD3MultiInputPolicy(FinitePredictMixin, MultiInputPolicy):
    """The same for dictionaries of observations."""


class TD3(stable_baselines3.TD3):
    """Twin delayed DDPG (Fujimoto et al., 2018): learns and acts bit by bit as Stable-Baselines3's.

    Only `predict` differs: observations that are not finite are refused, and so are actions.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FiniteTD3Policy,
        "CnnPolicy": FiniteTD3CnnPolicy,
        "MultiInputPolicy": FiniteTD3MultiInputPolicy,
    }
