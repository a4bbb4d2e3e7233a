"""What environments and the policy's arguments must be for a memory to be trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from hyperrl.errors import ConfigError
from hyperrl.sb3.contexts.observed import Observed
from hyperrl.sb3.meta.choices import check_policy_kwargs
from hyperrl.sb3.meta.trials import ADDED, EPISODE, START, trials_of


def check_env(env: VecEnv, episodes: int) -> None:
    """Refuse environments that no memory can be trained in, and decide on the length of their trials.

    Args:
        env: The environments, in trials.
        episodes: Episodes of a trial.

    Raises:
        ConfigError: Only critics are to see the context, a `VecNormalize` changes what says where a trial
            begins, or trials have another length.
    """
    trials = trials_of(env)
    assert trials is not None
    mode = Observed.of_env(trials.venv).mode
    if mode == "privileged":
        raise ConfigError(
            "RecurrentHyper has no critic that sees what its actor does not: take the mode 'hidden', or "
            "'visible', not 'privileged'"
        )
    above = unwrap_vec_normalize(env)
    if above is not None and unwrap_vec_normalize(trials.venv) is not above:
        keys = [key for key in (EPISODE, START) if above.norm_obs and key in (above.norm_obs_keys or ())]
        if keys:
            raise ConfigError(
                f"VecNormalize must leave {' and '.join(keys)} as they are, which say what begins: give it "
                f"norm_obs_keys without {', '.join(ADDED)}"
            )
    trials.set_episodes(episodes)


def check_arguments(policy: type[Any], given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse keyword arguments of the policy that it does not have, or that are the agent's.

    Args:
        policy: Its class.
        given: ``policy_kwargs``.
        own: What the agent passes to it besides.

    Raises:
        UnknownNameError: There is no such argument.
        ConfigError: It is an argument of the agent, with another value.
    """
    check_policy_kwargs(policy, given)
    for name, value in own.items():
        if name in given and given[name] != value:
            raise ConfigError(f"{name} is an argument of RecurrentHyper, not of its policy_kwargs")
