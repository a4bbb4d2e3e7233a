"""Where NaN and infinity come from in an algorithm of Stable-Baselines3: a clause that names the first cause.

Every function reads and changes nothing, and returns None where all is finite. `fault_of_step` is fast; the
others are meant for the ends of rollouts, or for the moment after something went wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.run.weights import Weights
from hyperrl.sb3.finite import first_non_finite, place

# What buffers hold, causes before what is computed from them.
_BUFFER_PARTS = (
    "observations",
    "actions",
    "rewards",
    "next_observations",
    "dones",
    "values",
    "log_probs",
    "advantages",
    "returns",
)
_ROWS_AT_ONCE = 65536
# Stable-Baselines3 gives it as NaN where all returns are equal.
_MAY_BE_NAN = "train/explained_variance"


def fault_of_step(agent: BaseAlgorithm, step: Mapping[str, Any], weights: Weights) -> str | None:
    """Say what is not finite in the step that the environments have just made.

    Args:
        agent: The algorithm.
        step: The local variables of `collect_rollouts`.
        weights: The agent's weights.
    """
    infos = step["infos"]
    given = (
        _fault_of_observations(step["new_obs"], step["dones"])
        or _fault_of_last_observations(infos)
        or _fault_of_each("gave a reward of", step["rewards"])
    )
    return (
        _fault_of_actions(agent, step["actions"], weights)
        or _fault_of_contexts(infos)
        or _fault_before_normaliser(agent, given)
        or given
    )


def fault_of_reset(agent: BaseAlgorithm) -> str | None:
    """Say which environment's observation, on which the agent acts next, is not finite.

    Args:
        agent: The algorithm.
    """
    observations = agent._last_obs
    if observations is None:
        return None
    given = _fault_of_observations(observations)
    normaliser = agent.get_vec_normalize_env()
    if normaliser is None:
        return given
    return _fault_of_observations(normaliser.old_obs) or (given and fault_of_normaliser(normaliser)) or given


def fault_of_normaliser(normaliser: VecNormalize | None) -> str | None:
    """Say which statistic of the normaliser is not finite.

    Args:
        normaliser: What normalises observations and rewards, or None.
    """
    if normaliser is None:
        return None
    if normaliser.norm_obs:
        statistics = normaliser.obs_rms
        parts = statistics.items() if isinstance(statistics, dict) else [("", statistics)]
        for key, moments in parts:
            for noun, values in (("mean", moments.mean), ("variance", moments.var)):
                index = first_non_finite(np.asarray(values))
                if index is not None:
                    where = _where(key, index)
                    return f"the observation normaliser has a {noun} of {values[index]}{where}"
    if normaliser.norm_reward:
        if not np.isfinite(normaliser.ret_rms.var):
            return f"the reward normaliser has a variance of {normaliser.ret_rms.var}"
        return _fault_of_each("has, in the reward normaliser, a return of", normaliser.returns)
    return None


def fault_of_buffer(noun: str, buffer: BaseBuffer | None) -> str | None:
    """Say which row of which environment is not finite in a replay buffer or in a full rollout buffer.

    Args:
        noun: What to call it.
        buffer: The buffer, or None.
    """
    if buffer is None:
        return None
    rows = buffer.size()
    for name in _BUFFER_PARTS:
        for key, values in _parts(getattr(buffer, name, None)):
            for start in range(0, rows, _ROWS_AT_ONCE):
                index = first_non_finite(values[start : min(rows, start + _ROWS_AT_ONCE)])
                if index is not None:
                    row, env, *rest = (start + index[0], *index[1:])
                    value, where = values[(row, env, *rest)], _where(key, tuple(rest))
                    return f"{noun} has {value} in {name} at row {row} of environment {env}{where}"
    return None


def losses_not_finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the losses and other scalars of updates that are not finite.

    Args:
        values: The logger's values by name.
    """
    return {
        name: float(value)
        for name, value in values.items()
        if name.startswith("train/")
        and name != _MAY_BE_NAN
        and isinstance(value, (float, np.floating))
        and not math.isfinite(value)
    }


def cause(agent: BaseAlgorithm, weights: Weights, losses: Mapping[str, float]) -> str | None:
    """Say what is not finite in an agent, the cause before its consequences.

    Args:
        agent: The algorithm.
        weights: Its weights.
        losses: Losses that are not finite.
    """
    found = (
        fault_of_buffer("the replay buffer", getattr(agent, "replay_buffer", None))
        or fault_of_normaliser(agent.get_vec_normalize_env())
        or weights.fault_of_gradients()
        or weights.fault()
    )
    if found is None and losses:
        name, value = next(iter(losses.items()))
        found = f"{name} is {value}, though gradients and weights are finite"
    return found


def _fault_of_actions(agent: BaseAlgorithm, actions: NDArray[Any], weights: Weights) -> str | None:
    index = first_non_finite(actions)
    if index is None:
        return None
    noise = getattr(agent, "action_noise", None) is not None
    source = "the policy, or its action noise," if noise else "the policy"
    fault = weights.fault()
    reason = f"because {fault}" if fault else "though all its weights are finite"
    return (
        f"{source} gave environment {index[0]} an action of {actions[index]}{_where('', index[1:])} {reason}"
    )


def _fault_of_contexts(infos: Iterable[Mapping[str, Any]]) -> str | None:
    for env, info in enumerate(infos):
        if "context" not in info:
            continue
        for key, values in _parts(info["context"]):
            array = np.asarray(values)
            index = first_non_finite(array)
            if index is not None:
                return f"environment {env} has a context of {array[index]}{_where(key, index)}"
    return None


def _fault_before_normaliser(agent: BaseAlgorithm, given: str | None) -> str | None:
    """Say what the environments gave to the normaliser, or what is wrong with itself."""
    normaliser = agent.get_vec_normalize_env()
    if normaliser is None:
        return None
    # It clips what is infinite, and one NaN of one environment spoils the statistics of all.
    return (
        _fault_of_observations(normaliser.old_obs)
        or _fault_of_each("gave a reward of", normaliser.old_reward)
        or (given and fault_of_normaliser(normaliser))
    )


def _fault_of_observations(observations: Any, dones: Any = None) -> str | None:
    for key, values in _parts(observations):
        index = first_non_finite(values)
        if index is not None:
            which = "a first observation" if dones is not None and dones[index[0]] else "an observation"
            return f"environment {index[0]} gave {which} of {values[index]}{_where(key, index[1:])}"
    return None


def _fault_of_last_observations(infos: Iterable[Mapping[str, Any]]) -> str | None:
    for env, info in enumerate(infos):
        for key, values in _parts(info.get("terminal_observation")):
            index = first_non_finite(values)
            if index is not None:
                return f"environment {env} gave a last observation of {values[index]}{_where(key, index)}"
    return None


def _fault_of_each(verb: str, values: NDArray[Any]) -> str | None:
    """Say which environment has a bad value among one for each ``[N]``."""
    index = first_non_finite(values)
    return None if index is None else f"environment {index[0]} {verb} {values[index]}"


def _parts(values: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield what a dict holds by key, or the one array there is under no name; numbers become arrays."""
    if isinstance(values, Mapping):
        for key, part in values.items():
            yield key, np.asarray(part)
    elif values is not None:
        yield "", np.asarray(values)


def _where(key: str, index: tuple[int, ...]) -> str:
    details = ", ".join(filter(None, (f"{key!r}" if key else "", place(index))))
    return f" ({details})" if details else ""
